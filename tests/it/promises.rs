//! The pages that promise something name the test that holds it: there is such a test.

use std::collections::BTreeSet;
use std::path::Path;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Every function and file of the workspace's own code.
fn names(folder: &Path, into: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() && name != "target" && name != "node_modules" && !name.starts_with('.') {
            into.insert(name);
            names(&path, into);
        } else if let Some(stem) = name.strip_suffix(".rs") {
            into.insert(stem.to_owned());
            let text = std::fs::read_to_string(&path).unwrap();
            let functions = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            into.extend(functions.map(str::to_owned));
        }
    }
}

/// `a_changed_password_…` names whatever begins so, `…_is_refused` whatever ends so, `over_smtp_*` the like.
fn fits(name: &str, pattern: &str) -> bool {
    let parts: Vec<&str> = pattern.split(['…', '*']).collect();
    match parts.as_slice() {
        [whole] => name == *whole,
        [start, end] => name.starts_with(start) && name.ends_with(end),
        _ => false,
    }
}

#[test]
fn each_promise_names_a_test_that_there_is() {
    let mut known = BTreeSet::new();
    for folder in ["gateway", "signer", "chains", "mcp", "tests"] {
        names(&Path::new(ROOT).join(folder), &mut known);
    }
    let (mut missing, mut found) = (Vec::new(), 0);
    for page in ["gateway/docs/security.md", "signer/docs/threat-model.md"] {
        let text = std::fs::read_to_string(Path::new(ROOT).join(page)).unwrap();
        let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise"));
        for row in rows {
            let cell = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap();
            for name in cell.split('`').skip(1).step_by(2) {
                let name = name.rsplit("::").next().unwrap().trim_start_matches('_');
                let name = name.rsplit('/').next().unwrap().trim_end_matches(".rs");
                found += 1;
                if !known.iter().any(|known| fits(known, name)) {
                    missing.push(format!("{page}: {name}"));
                }
            }
        }
    }
    assert!(found > 150, "only {found} names were found");
    assert!(missing.is_empty(), "no such test:\n{}", missing.join("\n"));
}
