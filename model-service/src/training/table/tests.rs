//! Tables as users have them: good ones, bad rows, useless columns, and files that are no table.

use std::fmt::Write as _;
use std::path::Path;

use super::super::{Epoch, TrainError, TrainOptions, TrainReport, TrainingWatcher, train_watched};
use super::*;

/// Remembers what it was told.
#[derive(Default)]
struct Told {
    loaded: Option<TableSummary>,
    published: usize,
    epochs: Vec<Epoch>,
    refuses: bool,
}

impl TrainingWatcher for Told {
    fn loaded(&mut self, summary: &TableSummary) {
        self.loaded = Some(summary.clone());
    }

    fn epoch(&mut self, epoch: &Epoch) {
        self.epochs.push(*epoch);
    }

    fn publish(
        &mut self,
        _: &TableSummary,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.published += 1;
        if self.refuses {
            return Err("the store is away".into());
        }
        Ok(())
    }
}

fn columns() -> TableOptions {
    TableOptions {
        id: "flower".to_owned(),
        target: "kind".to_owned(),
        ..TableOptions::default()
    }
}

/// 240 flowers: the length and the colour decide about the kind, and the height is ten times the
/// length plus five for a red one.
fn flowers() -> String {
    let mut csv = "flower,petal length (cm),colour,note,kind,height\n".to_owned();
    for row in 0..240_u32 {
        let length = 1.0 + f64::from(row * 7 % 50) / 10.0;
        let red = row % 3 == 0;
        let colour = if red { "red" } else { "sky blue" };
        let kind = match (length > 3.5, red) {
            (true, true) => "large",
            (true, false) => "middle",
            (false, _) => "small",
        };
        let height = length * 10.0 + if red { 5.0 } else { 0.0 };
        let noise = f64::from(row % 11) / 100.0;
        let _ = writeln!(
            csv,
            "f{row},{:.2},{colour},remark {row},{kind},{height:.1}",
            length + noise
        );
    }
    csv
}

fn train(
    csv: &str,
    columns: TableOptions,
    told: &mut Told,
) -> (Result<TrainReport, TrainError>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flowers.csv");
    std::fs::write(&file, csv).unwrap();
    let options = TrainOptions::of_table(file, folder.path().join("models"), "flowers", columns);
    (train_watched(&options, told), folder)
}

fn is_empty(folder: &Path) -> bool {
    let versions = std::fs::read_dir(folder.join("models/flowers"));
    versions.is_ok_and(|mut versions| versions.next().is_none()) || !folder.join("models").exists()
}

/// The message of a training that must fail, and leave nothing.
fn refused(csv: &str, columns: TableOptions) -> String {
    let mut told = Told::default();
    let (report, folder) = train(csv, columns, &mut told);
    let error = report.expect_err("it is refused");
    assert_eq!(told.published, 0, "{error}");
    assert!(is_empty(folder.path()), "{error}");
    runtime::chain(&error)
}

#[test]
fn a_classifier_learns_from_numbers_and_categories() {
    let mut told = Told::default();
    let mut options = columns();
    options.epochs = Some(60);
    let (report, _folder) = train(&flowers(), options, &mut told);
    let manifest = report.unwrap().manifest;
    assert_eq!(manifest.check(), Ok(()));
    assert_eq!(manifest.features, ["petal_length_cm", "colour", "height"]);
    assert_eq!(manifest.classes, ["large", "middle", "small"]);
    assert_eq!(manifest.categories["colour"], ["red", "sky blue"]);
    let metrics = &manifest.metrics;
    assert!(metrics.validation_accuracy.unwrap() >= 0.9, "{metrics:?}");
    assert!(metrics.majority_baseline.unwrap() < 0.7, "{metrics:?}");
    assert_eq!(manifest.dataset.rows, 240);
    assert_eq!(manifest.widths()[0], 4);
    let lookup = manifest.lookup.unwrap();
    assert_eq!(
        (lookup.feature_view.as_str(), lookup.join_key.as_str()),
        ("flowers_features", "flower")
    );
    let summary = told.loaded.unwrap();
    let ignored = &summary.ignored[0];
    assert_eq!(
        (ignored.column.as_str(), ignored.reason.as_str()),
        ("note", "is another text in every row")
    );
    assert_eq!((told.published, told.epochs.len()), (1, 60));
    assert!(told.epochs.iter().all(|epoch| epoch.rows_per_second > 0.0));
}

#[test]
fn a_regression_predicts_a_number_in_its_own_unit() {
    let mut told = Told::default();
    let options = TableOptions {
        target: "height".to_owned(),
        regression: true,
        ..columns()
    };
    let (report, _folder) = train(&flowers(), options, &mut told);
    let manifest = report.unwrap().manifest;
    assert_eq!(manifest.check(), Ok(()));
    assert!(manifest.classes.is_empty() && manifest.widths().ends_with(&[1]));
    let metrics = &manifest.metrics;
    let (error, baseline) = (metrics.validation_rmse, metrics.mean_baseline_rmse);
    assert!(error.unwrap() < baseline.unwrap() / 4.0, "{metrics:?}");
    assert_eq!(metrics.validation_accuracy, None);
    assert!(told.epochs.iter().all(|epoch| epoch.accuracy.is_none()));
    let values = manifest.reference.values.unwrap();
    assert!(values.min > 5.0 && values.max < 70.0, "{values:?}");
}

#[test]
fn a_feature_store_that_refuses_leaves_no_version() {
    let mut told = Told {
        refuses: true,
        ..Told::default()
    };
    let mut options = columns();
    options.epochs = Some(1);
    let (report, folder) = train(&flowers(), options, &mut told);
    let message = runtime::chain(&report.unwrap_err());
    assert!(message.contains("the store is away"), "{message}");
    assert!(is_empty(folder.path()));
}

#[test]
fn bad_rows_are_said_by_line_and_left_out_on_request() {
    let csv = flowers()
        .replacen("f3,", ",", 1)
        .replacen("f5,4.55", "f5,NaN", 1)
        .replacen("f7,5.97", "f7,inf", 1)
        .replacen("f9,", "f9,1,2,", 1)
        .replacen("f11,3.70,sky blue", "f11,3.70,", 1);
    let message = refused(&csv, columns());
    for expected in [
        "5 rows cannot be used",
        "--skip-bad-rows",
        "line 5: column flower is empty",
        "line 7: column petal length (cm) is not a finite number",
        "line 9: column petal length (cm) is not a finite number",
        "line 11: 8 fields, and the header has 6",
        "line 13: column colour is empty",
    ] {
        assert!(message.contains(expected), "{expected}: {message}");
    }
    let mut told = Told::default();
    let options = TableOptions {
        skip_bad_rows: true,
        epochs: Some(1),
        ..columns()
    };
    let (report, _folder) = train(&csv, options, &mut told);
    assert_eq!(report.unwrap().manifest.dataset.rows, 235);
    let lines: Vec<u64> = told
        .loaded
        .unwrap()
        .skipped
        .iter()
        .map(|row| row.line)
        .collect();
    assert_eq!(lines, [5, 7, 9, 11, 13]);
}

#[test]
fn what_is_no_table_is_refused_with_the_reason() {
    let rows = |row: &dyn Fn(u32) -> String| (0..40).map(row).collect::<String>();
    let head = "flower,length,kind\n";
    let two = |row: u32| if row.is_multiple_of(2) { "a" } else { "b" };
    let good = rows(&|row| format!("f{row},{row},{}\n", two(row)));
    let cases = [
        (String::new(), "0 bytes"),
        (head.to_owned(), "a header and no rows"),
        ("flower,length\nf1,2\n".to_owned(), "no column kind"),
        ("length,kind\n1,a\n".to_owned(), "no column flower"),
        (
            "flower;length;kind\nf1;2;a\n".to_owned(),
            "separated by commas",
        ),
        ("flower,kind,kind\nf1,a,b\n".to_owned(), "column kind twice"),
        (
            "flower,a b,a-b,kind\n".to_owned()
                + &rows(&|row| format!("f{row},{row},{row},{}\n", two(row))),
            "would both be the feature a_b",
        ),
        (
            head.to_owned() + &rows(&|row| format!("f{row},{row},a\n")),
            "one class",
        ),
        (
            head.to_owned() + &good + "f3,1,a\n",
            "line 42: the id is that of line 5",
        ),
        (
            head.to_owned() + &rows(&|row| format!("f{row},1,{}\n", two(row))),
            "column length is the same in every row",
        ),
        (
            head.to_owned() + &rows(&|row| format!("f{row},text {row},{}\n", two(row))),
            "column length is another text in every row",
        ),
        (
            head.to_owned()
                + &rows(&|row| format!("f{row},{},{}\n", if row < 3 { "1" } else { "" }, two(row))),
            "column length is empty in 37 of 40 rows",
        ),
        (
            "flower,length,kind\nf1,1,a\nf2,2,b\n".to_owned(),
            "the class b has no row in the training part",
        ),
    ];
    for (csv, expected) in cases {
        let message = refused(&csv, columns());
        assert!(message.contains(expected), "{expected}: {message}");
    }
    let many = (0..202).map(|row| format!("f{row},{row},{}\n", row / 2));
    let message = refused(&(head.to_owned() + &many.collect::<String>()), columns());
    assert!(message.contains("--regression"), "{message}");
    let constant = head.to_owned() + &rows(&|row| format!("f{row},{row},3\n"));
    let regression = TableOptions {
        regression: true,
        ..columns()
    };
    let message = refused(&constant, regression);
    assert!(message.contains("nothing to predict"), "{message}");
    let text = TableOptions {
        regression: true,
        ..columns()
    };
    let message = refused(&(head.to_owned() + &good), text);
    assert!(
        message.contains("column kind is not a finite number"),
        "{message}"
    );
}

#[test]
fn free_text_and_forced_categories() {
    let mut csv = "flower,words,code,length,kind\n".to_owned();
    for row in 0..240 {
        let kind = if row % 4 < 2 { "a" } else { "b" };
        let _ = writeln!(
            csv,
            "f{row},text {},{},{row},{kind}",
            row / 2,
            row % 4 + 100
        );
    }
    let options = TableOptions {
        categories: vec!["code".to_owned()],
        epochs: Some(20),
        ..columns()
    };
    let mut told = Told::default();
    let (report, _folder) = train(&csv, options, &mut told);
    let manifest = report.unwrap().manifest;
    assert_eq!(manifest.categories["code"], ["100", "101", "102", "103"]);
    assert_eq!(manifest.features, ["code", "length"]);
    let metrics = &manifest.metrics;
    assert!(metrics.validation_accuracy.unwrap() > 0.95, "{metrics:?}");
    let reason = &told.loaded.unwrap().ignored[0].reason;
    assert!(
        reason.starts_with("is free text: 120 different texts"),
        "{reason}"
    );
}

#[test]
fn names_of_columns_become_names_of_features() {
    let cases = [
        ("sepal length (cm)", "sepal_length_cm"),
        ("2nd-class", "n_2nd_class"),
        ("Größe", "Gr_e"),
        ("…", "column"),
        ("__x__", "x"),
    ];
    for (column, name) in cases {
        assert_eq!(feature_name(column), name);
    }
    assert_eq!(feature_name(&"a".repeat(100)).len(), 63);
}
