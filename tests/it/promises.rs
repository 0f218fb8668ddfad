//! The pages that promise something name the test that holds it: there is such a test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What a promise may name.
#[derive(Default)]
struct Known {
    tests: BTreeSet<String>,
    /// Files and folders, from the workspace's root.
    places: Vec<PathBuf>,
}

impl Known {
    /// All of the workspace's own code in this folder.
    fn gather(&mut self, folder: &Path) {
        for entry in std::fs::read_dir(Path::new(ROOT).join(folder)).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let (path, is_folder) = (folder.join(&name), entry.path().is_dir());
            if is_folder && name != "target" && name != "node_modules" && !name.starts_with('.') {
                self.gather(&path);
            } else if name.ends_with(".rs") {
                self.read(&std::fs::read_to_string(entry.path()).unwrap());
            }
            self.places.push(path);
        }
    }

    /// A function is a test if an attribute or a macro says so right before it, or if it is in the list of `on_both!`.
    fn read(&mut self, text: &str) {
        let (mut is_test, mut listed) = (false, false);
        for line in text.lines().map(str::trim) {
            if listed && line != "}" {
                self.tests.insert(line.trim_end_matches(',').to_owned());
            } else if let Some(name) = function(line) {
                if is_test {
                    self.tests.insert(name.to_owned());
                }
                is_test = false;
            } else if MARKS.iter().any(|mark| line.starts_with(mark)) {
                is_test = true;
            }
            listed = line == "on_both! {" || (listed && line != "}");
        }
    }

    /// `mail::over_smtp_*` names a test, `tests/it/mail.rs` and `mail.rs` a place.
    fn has(&self, name: &str) -> bool {
        if is_place(name) {
            return self.places.iter().any(|place| place.ends_with(name));
        }
        let name = name.rsplit("::").next().unwrap();
        self.tests.iter().any(|test| fits(test, name))
    }
}

fn is_place(name: &str) -> bool {
    name.contains('/') || name.ends_with(".rs")
}

const MARKS: [&str; 4] = ["#[test]", "#[tokio::test", "both! {", "each! {"];

/// The name of the function that begins on this line.
fn function(line: &str) -> Option<&str> {
    let (before, rest) = line.split_once("fn ")?;
    let words = ["", "pub", "pub(crate)", "pub(super)", "async"];
    let begins = before.split(' ').all(|word| words.contains(&word));
    if begins { rest.split(['(', '<']).next() } else { None }
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
    let mut known = Known::default();
    for folder in ["gateway", "signer", "chains", "mcp", "tests"] {
        known.gather(Path::new(folder));
    }
    let (mut missing, mut found) = (Vec::new(), 0);
    for page in ["gateway/docs/security.md", "signer/docs/threat-model.md"] {
        let text = std::fs::read_to_string(Path::new(ROOT).join(page)).unwrap();
        let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise"));
        for row in rows {
            let cell = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap();
            let named: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
            found += named.len();
            let unknown = named.iter().filter(|name| !known.has(name));
            missing.extend(unknown.map(|name| format!("{page}: {name}")));
            // A place alone holds no promise; it may say where the test above is, or those below.
            let leans = ["the same", "test in"].iter().any(|start| cell.starts_with(start));
            if !leans && !named.is_empty() && named.iter().all(|name| is_place(name)) {
                missing.push(format!("{page}: {cell}"));
            }
        }
    }
    assert!(found > 150, "only {found} names were found");
    assert!(missing.is_empty(), "no such test:\n{}", missing.join("\n"));
}

#[test]
fn what_is_no_test_is_not_taken_for_one() {
    let mut known = Known::default();
    known.read(
        r#"
        fn helper(on: &str) {}
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn waits() {
            async fn inner() {}
        }
        both! { with chain,
            /// Why.
            async fn holds(w: World) {}
        }
        #[test]
        #[should_panic]
        fn falls<T>() {}
        fn another() {}
        on_both! {
            one_of_many,
        }
        pub fn last() {}
        "#,
    );
    let tests: Vec<&str> = known.tests.iter().map(String::as_str).collect();
    assert_eq!(tests, ["falls", "holds", "one_of_many", "waits"]);
    known.places.push("tests/it/promises.rs".into());
    for name in ["promises.rs", "it/promises.rs", "it::holds", "hol…", "…_many"] {
        assert!(known.has(name), "{name}");
    }
    for name in ["promises", "omises.rs", "helper", "inner", "last"] {
        assert!(!known.has(name), "{name}");
    }
}
