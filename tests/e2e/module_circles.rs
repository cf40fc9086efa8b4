//! No circle of modules inside a crate: each file can be understood after the files that it depends
//! on.
//!
//! A module is a file. It depends on the module where a name that it uses is defined, also when the
//! name reaches it through a re-export. Parent and child belong together, so an edge between an
//! ancestor and its descendant does not count.

mod tokens;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use anyhow::{Context, Result};

use crate::architecture::files;

use tokens::tokens;

#[test]
fn modules_have_no_circles() -> Result<()> {
    let mut found = Vec::new();
    for name in crates()? {
        for circle in Crate::read(&name)?.circles() {
            found.push(format!("{name}: {circle}"));
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    Ok(())
}

/// The folders of the packages with a library.
fn crates() -> Result<Vec<String>> {
    let libraries = files("/src/lib.rs")?.into_iter();
    Ok(libraries
        .filter_map(|(file, _)| file.strip_suffix("/src/lib.rs").map(str::to_owned))
        .collect())
}

/// `["store", "sqlite"]`; the crate's root is empty.
type Module = Vec<String>;

/// The modules of one crate, but for its tests.
struct Crate {
    modules: BTreeMap<Module, Source>,
}

/// What one file names.
#[derive(Default)]
struct Source {
    /// Names that `use` brings into the module, with their paths.
    imports: BTreeMap<String, Vec<String>>,
    /// Every path that it imports, or that begins with `crate`, `self` or `super`.
    paths: Vec<Vec<String>>,
}

impl Crate {
    fn read(name: &str) -> Result<Self> {
        let folder = format!("{name}/src/");
        let mut modules = BTreeMap::new();
        for (file, text) in files(".rs")? {
            let Some(module) = file.strip_prefix(&folder).and_then(module) else {
                continue;
            };
            modules.insert(module, Source::read(&tokens(&text)));
        }
        modules.get(&Vec::new()).context("a crate has a root")?;
        Ok(Self { modules })
    }

    /// For each module the others that it depends on, with one name that it uses of each.
    fn edges(&self) -> BTreeMap<&Module, BTreeMap<Module, String>> {
        let mut edges: BTreeMap<&Module, BTreeMap<Module, String>> = BTreeMap::new();
        for (module, source) in &self.modules {
            let targets = edges.entry(module).or_default();
            for path in &source.paths {
                if let Some(target) = self.resolve(module, path, 0)
                    && !module.starts_with(&target)
                    && !target.starts_with(module)
                {
                    targets.entry(target).or_insert_with(|| path.join("::"));
                }
            }
        }
        edges
    }

    /// The module where a path that is written in `from` leads; `None` outside of the crate.
    fn resolve(&self, from: &Module, path: &[String], depth: usize) -> Option<Module> {
        let mut module = from.clone();
        let mut rest = path;
        while let [first, others @ ..] = rest {
            match first.as_str() {
                "crate" => module.clear(),
                "self" => {}
                "super" => drop(module.pop()),
                _ => break,
            }
            rest = others;
        }
        let relative = rest.len() == path.len();
        for (index, name) in rest.iter().enumerate() {
            let child = [&module[..], std::slice::from_ref(name)].concat();
            if self.modules.contains_key(&child) {
                module = child;
                continue;
            }
            let import = self.modules.get(&module)?.imports.get(name);
            return match import {
                // A name cannot lead through more re-exports than there are modules, unless it
                // names itself.
                Some(import) if depth < self.modules.len() && import.as_slice() != path => {
                    let through = [import.as_slice(), &rest[index + 1..]].concat();
                    self.resolve(&module, &through, depth + 1)
                        .or_else(|| (!relative).then_some(module))
                }
                _ => (!relative || index > 0).then_some(module),
            };
        }
        Some(module)
    }

    /// The shortest circle through the first module of each group of modules that depend on each
    /// other.
    fn circles(&self) -> Vec<String> {
        let edges = self.edges();
        let mut seen = BTreeSet::new();
        let mut circles = Vec::new();
        for &module in edges.keys() {
            if seen.contains(module) {
                continue;
            }
            let Some(circle) = circle(module, &edges) else {
                continue;
            };
            let group: Vec<Module> = reached(module, &edges)
                .into_iter()
                .filter(|other| reached(other, &edges).contains(module))
                .collect();
            let names: Vec<String> = group.iter().map(|module| module.join("::")).collect();
            circles.push(format!("{}: {circle}", names.join(", ")));
            seen.extend(group);
        }
        circles
    }
}

/// The module of a file below `src/`; `None` for tests and for a binary.
fn module(file: &str) -> Option<Module> {
    let path = Path::new(file).with_extension("");
    let mut module: Module = path
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if module.iter().any(|name| name == "tests") || module == ["main"] {
        return None;
    }
    if module == ["lib"] || module.last().is_some_and(|name| name == "mod") {
        module.pop();
    }
    Some(module)
}

/// Every module that can be reached from one.
fn reached(from: &Module, edges: &BTreeMap<&Module, BTreeMap<Module, String>>) -> BTreeSet<Module> {
    let mut reached = BTreeSet::new();
    let mut next = vec![from.clone()];
    while let Some(module) = next.pop() {
        for target in edges.get(&module).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(target.clone()) {
                next.push(target.clone());
            }
        }
    }
    reached
}

/// The shortest way from a module back to itself, with the names used.
fn circle(from: &Module, edges: &BTreeMap<&Module, BTreeMap<Module, String>>) -> Option<String> {
    let mut ways = VecDeque::from([(from.clone(), String::new())]);
    let mut seen = BTreeSet::new();
    while let Some((module, way)) = ways.pop_front() {
        for (target, name) in edges.get(&module).into_iter().flatten() {
            let way = format!("{way}{} uses {name}; ", module.join("::"));
            if target == from {
                return Some(way.trim_end_matches("; ").to_owned());
            }
            if seen.insert(target.clone()) {
                ways.push_back((target.clone(), way));
            }
        }
    }
    None
}

impl Source {
    fn read(tokens: &[&str]) -> Self {
        let mut source = Self::default();
        let mut at = 0;
        while at < tokens.len() {
            let next = tokens.get(at + 1).copied().unwrap_or_default();
            at = match tokens[at] {
                "#" if tokens[at..].starts_with(&CFG_TEST) => item_end(tokens, at),
                // `use<'a>` is a bound.
                "use" if next != "<" => source.read_tree(tokens, at + 1, &[], true),
                "crate" | "self" | "super" if next == "::" => {
                    source.read_tree(tokens, at, &[], false)
                }
                _ => at + 1,
            };
        }
        source
    }

    /// Reads a path that continues `prefix`, or the tree of paths of an import; returns where it ends.
    fn read_tree(
        &mut self,
        tokens: &[&str],
        mut at: usize,
        prefix: &[String],
        import: bool,
    ) -> usize {
        let mut path = prefix.to_vec();
        let mut name = None;
        while let Some(&token) = tokens.get(at) {
            if token == "{" && import {
                return self.read_branches(tokens, at + 1, &path);
            }
            if token == "as" && import {
                name = tokens.get(at + 1).map(|&alias| alias.to_owned());
                at += 2;
                break;
            }
            if is_word(token) {
                path.push(token.to_owned());
            } else if token != "::" {
                break;
            }
            at += 1;
            let next = tokens.get(at).copied().unwrap_or_default();
            let renamed = import && next == "as";
            if token != "::" && next != "::" && !renamed {
                break;
            }
        }
        // `{self}` imports the module itself.
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        if import && let Some(name) = name.or_else(|| path.last().cloned()) {
            self.imports.insert(name, path.clone());
        }
        self.paths.push(path);
        // A `*` is left to the caller, which skips what it does not know.
        at
    }

    /// Reads the paths between braces, which continue `prefix`.
    fn read_branches(&mut self, tokens: &[&str], mut at: usize, prefix: &[String]) -> usize {
        while let Some(&token) = tokens.get(at) {
            at = match token {
                "}" => return at + 1,
                "," | "*" => at + 1,
                _ => self.read_tree(tokens, at, prefix, true),
            };
        }
        at
    }
}

const CFG_TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];

/// Where the item ends that begins at `at`: behind its semicolon or its braces.
fn item_end(tokens: &[&str], mut at: usize) -> usize {
    let mut depth = 0;
    while let Some(&token) = tokens.get(at) {
        at += 1;
        match token {
            "{" => depth += 1,
            "}" if depth == 1 => return at,
            "}" => depth -= 1,
            ";" if depth == 0 => return at,
            _ => {}
        }
    }
    at
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphanumeric() || first == '_')
}
