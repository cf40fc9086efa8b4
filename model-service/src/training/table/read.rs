//! Reads a CSV file as a table. What is wrong with it is said by line and column.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use csv::StringRecord;
use sha2::{Digest, Sha256};

use super::columns::{Kind, finite, kind_of};
use super::faults::{BadRow, IgnoredColumn};
use super::{
    Example, Outcome, Table, TableFeature, TableOptions, TableSummary, Target, feature_name,
};
use crate::repository::Lookup;
use crate::training::TrainError;

/// More classes than this are numbers or texts.
const MAX_CLASSES: usize = 100;

/// A row of the file whose number of fields is that of the header.
struct Line {
    number: u64,
    fields: StringRecord,
}

/// The columns by their position in the file.
struct Header {
    names: Vec<String>,
    id: usize,
    target: usize,
}

/// A feature with its place in the file.
struct Feature {
    position: usize,
    shown: TableFeature,
    /// Empty for a number.
    texts: Vec<String>,
}

/// What of a file becomes examples.
struct Columns {
    header: Header,
    features: Vec<Feature>,
    ignored: Vec<IgnoredColumn>,
    outcome: Outcome,
}

pub(crate) fn read(
    path: &Path,
    model: &str,
    options: &TableOptions,
) -> Result<(Table, TableSummary), TrainError> {
    let bytes = std::fs::read(path).map_err(|source| TrainError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    if bytes.is_empty() {
        return Err(TrainError::Empty);
    }
    let mut csv = csv::ReaderBuilder::new();
    let mut csv = csv.flexible(true).from_reader(&bytes[..]);
    let header = Header::of(csv.headers().map_err(TrainError::Csv)?, options)?;
    let (lines, bad) = lines(&mut csv, header.names.len())?;
    if lines.is_empty() && bad.is_empty() {
        return Err(TrainError::NoRows);
    }
    unique_ids(&lines, header.id)?;
    let columns = Columns::of(header, &lines, options)?;
    let (mut examples, bad) = columns.examples(&lines, bad);
    if !bad.is_empty() && !options.skip_bad_rows {
        return Err(TrainError::BadRows(bad));
    }
    let outcome = used(columns.outcome, &mut examples)?;
    let lookup = Lookup {
        feature_view: format!("{model}_features"),
        join_key: feature_name(&options.id),
    };
    let features = columns.features;
    let table = Table {
        features: names(&features),
        categories: categories(&features),
        outcome,
        lookup: lookup.clone(),
        sha256: hex::encode(Sha256::digest(&bytes)),
        examples,
    };
    let summary = TableSummary {
        rows: table.examples.len(),
        features: features.into_iter().map(|feature| feature.shown).collect(),
        ignored: columns.ignored,
        skipped: bad,
        id: options.id.clone(),
        lookup,
    };
    Ok((table, summary))
}

impl Columns {
    fn of(header: Header, lines: &[Line], options: &TableOptions) -> Result<Self, TrainError> {
        let (features, ignored) = features(&header, lines, options)?;
        Ok(Self {
            outcome: outcome(&header, lines, options)?,
            header,
            features,
            ignored,
        })
    }

    /// The examples, and all rows that are none in the order of the file.
    fn examples(&self, lines: &[Line], mut bad: Vec<BadRow>) -> (Vec<Example>, Vec<BadRow>) {
        let mut examples = Vec::with_capacity(lines.len());
        for line in lines {
            match example(line, &self.header, &self.features, &self.outcome) {
                Ok(example) => examples.push(example),
                Err(reason) => bad.push(BadRow {
                    line: line.number,
                    reason,
                }),
            }
        }
        bad.sort_by_key(|row| row.line);
        (examples, bad)
    }
}

impl Header {
    fn of(header: &StringRecord, options: &TableOptions) -> Result<Self, TrainError> {
        let names: Vec<String> = header.iter().map(str::to_owned).collect();
        let mut taken = BTreeSet::new();
        if let Some(twice) = names.iter().find(|name| !taken.insert(name.as_str())) {
            return Err(TrainError::DuplicateColumn(twice.clone()));
        }
        let position = |wanted: &str| {
            let found = names.iter().position(|name| name == wanted);
            found.ok_or_else(|| TrainError::NoColumn {
                column: wanted.to_owned(),
                has: names.join(", "),
            })
        };
        let (id, target) = (position(&options.id)?, position(&options.target)?);
        for category in &options.categories {
            position(category)?;
        }
        if id == target {
            return Err(TrainError::IdIsTarget(options.id.clone()));
        }
        Ok(Self { names, id, target })
    }
}

fn lines<R: std::io::Read>(
    csv: &mut csv::Reader<R>,
    columns: usize,
) -> Result<(Vec<Line>, Vec<BadRow>), TrainError> {
    let (mut lines, mut bad) = (Vec::new(), Vec::new());
    for record in csv.records() {
        let fields = record.map_err(TrainError::Csv)?;
        let number = fields.position().map_or(0, csv::Position::line);
        if fields.len() == columns {
            lines.push(Line { number, fields });
        } else {
            let reason = format!("{} fields, and the header has {columns}", fields.len());
            bad.push(BadRow {
                line: number,
                reason,
            });
        }
    }
    Ok((lines, bad))
}

/// A prediction is asked for by id, so an id that two rows have is a mistake that cannot be skipped.
fn unique_ids(lines: &[Line], id: usize) -> Result<(), TrainError> {
    let mut first: HashMap<&str, u64> = HashMap::with_capacity(lines.len());
    let mut repeated = Vec::new();
    for line in lines {
        let value = &line.fields[id];
        if value.is_empty() {
            continue;
        }
        if let Some(before) = first.insert(value, line.number) {
            repeated.push(BadRow {
                line: line.number,
                reason: format!("the id is that of line {before}"),
            });
        }
    }
    if repeated.is_empty() {
        Ok(())
    } else {
        Err(TrainError::DuplicateIds(repeated))
    }
}

fn features(
    header: &Header,
    lines: &[Line],
    options: &TableOptions,
) -> Result<(Vec<Feature>, Vec<IgnoredColumn>), TrainError> {
    let (mut features, mut ignored) = (Vec::new(), Vec::new());
    let mut taken = BTreeMap::from([(feature_name(&options.id).to_ascii_lowercase(), header.id)]);
    for (position, column) in header.names.iter().enumerate() {
        if position == header.id || position == header.target {
            continue;
        }
        let values: Vec<&str> = lines.iter().map(|line| &line.fields[position]).collect();
        let texts = match kind_of(column, &values, options.categories.contains(column)) {
            Kind::Number => Vec::new(),
            Kind::Category(texts) => texts,
            Kind::Ignored(reason) => {
                let column = column.clone();
                ignored.push(IgnoredColumn { column, reason });
                continue;
            }
        };
        let name = feature_name(column);
        if let Some(other) = taken.insert(name.to_ascii_lowercase(), position) {
            return Err(TrainError::SameName {
                first: header.names[other].clone(),
                second: column.clone(),
                name,
            });
        }
        let shown = TableFeature {
            column: column.clone(),
            name,
            is_category: !texts.is_empty(),
        };
        features.push(Feature {
            position,
            shown,
            texts,
        });
    }
    if features.is_empty() {
        return Err(TrainError::NoFeatures(ignored));
    }
    Ok((features, ignored))
}

fn outcome(header: &Header, lines: &[Line], options: &TableOptions) -> Result<Outcome, TrainError> {
    if options.regression {
        return Ok(Outcome::Number(options.target.clone()));
    }
    let values = lines.iter().map(|line| &line.fields[header.target]);
    let classes: BTreeSet<&str> = values.filter(|value| !value.trim().is_empty()).collect();
    if classes.len() > MAX_CLASSES {
        return Err(TrainError::TooManyClasses {
            column: options.target.clone(),
            classes: classes.len(),
            most: MAX_CLASSES,
        });
    }
    let mut classes: Vec<String> = classes.into_iter().map(str::to_owned).collect();
    // 9 comes before 10.
    if classes.iter().all(|class| finite(class).is_some()) {
        classes.sort_by(|a, b| {
            let order = finite(a).unwrap_or_default();
            order.total_cmp(&finite(b).unwrap_or_default())
        });
    }
    Ok(Outcome::Classes(classes))
}

fn example(
    line: &Line,
    header: &Header,
    features: &[Feature],
    outcome: &Outcome,
) -> Result<Example, String> {
    let empty = |position: usize| line.fields[position].trim().is_empty();
    let name = |position: usize| &header.names[position];
    let number = |position: usize| {
        let not_finite = || format!("column {} is not a finite number", name(position));
        finite(&line.fields[position]).ok_or_else(not_finite)
    };
    for position in [header.id, header.target] {
        if empty(position) {
            return Err(format!("column {} is empty", name(position)));
        }
    }
    let mut values = Vec::with_capacity(features.len());
    for Feature {
        position, texts, ..
    } in features
    {
        if empty(*position) {
            return Err(format!("column {} is empty", name(*position)));
        }
        values.push(if texts.is_empty() {
            number(*position)?
        } else {
            let at = texts
                .iter()
                .position(|text| *text == line.fields[*position]);
            at.unwrap_or_default() as f32
        });
    }
    let target = match outcome {
        Outcome::Number(_) => Target::Number(number(header.target)?),
        Outcome::Classes(classes) => {
            let value = &line.fields[header.target];
            let at = classes.iter().position(|class| class == value);
            Target::Class(u32::try_from(at.unwrap_or_default()).unwrap_or_default())
        }
    };
    Ok(Example {
        features: values,
        target,
    })
}

/// Only the classes that a usable row has.
fn used(outcome: Outcome, examples: &mut [Example]) -> Result<Outcome, TrainError> {
    let targets: BTreeSet<u32> = examples
        .iter()
        .map(|example| match example.target {
            Target::Class(class) => class,
            Target::Number(number) => number.to_bits(),
        })
        .collect();
    match outcome {
        Outcome::Number(target) if targets.len() < 2 => Err(TrainError::ConstantTarget(target)),
        Outcome::Classes(_) if targets.len() < 2 => Err(TrainError::OneClass),
        Outcome::Number(target) => Ok(Outcome::Number(target)),
        Outcome::Classes(classes) => {
            for example in examples {
                if let Target::Class(class) = &mut example.target {
                    let before = targets.range(..*class).count();
                    *class = u32::try_from(before).unwrap_or_default();
                }
            }
            let used = targets.iter().map(|class| classes[*class as usize].clone());
            Ok(Outcome::Classes(used.collect()))
        }
    }
}

fn names(features: &[Feature]) -> Vec<String> {
    let names = features.iter().map(|feature| feature.shown.name.clone());
    names.collect()
}

fn categories(features: &[Feature]) -> BTreeMap<String, Vec<String>> {
    let categories = features.iter().filter(|feature| feature.shown.is_category);
    let categories = categories.map(|feature| (feature.shown.name.clone(), feature.texts.clone()));
    categories.collect()
}
