//! `talon demo`: what a newcomer sees first.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use harness::Anvil;

/// Runs the demo with this on the path, in a folder of its own. Nothing that it started may be left.
fn demo(arguments: &[&str], path: &Path) -> Output {
    let temporary = tempfile::tempdir().unwrap();
    let mut command: Command = harness::talon();
    command.arg("demo").args(arguments).env("PATH", path).env("HOME", temporary.path());
    let output = command.env("TMPDIR", temporary.path()).output().unwrap();
    nothing_left(temporary.path());
    output
}

/// No file, and no process that works there.
fn nothing_left(folder: &Path) {
    let left: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
    assert!(left.is_empty(), "it left {left:?}");
    let name = folder.display().to_string();
    for process in std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path()) {
        // Its settings name the folder, whatever the process was started as.
        let told = std::fs::read(process.join("environ")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&told).contains(&name), "{} is left", process.display());
    }
}

fn told(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn tells_the_whole_story_on_an_anvil_of_its_own() {
    let anvil = harness::anvil();
    let told = told(&demo(&[], anvil.parent().unwrap()));
    for part in [
        "local (chain id 31337)",
        "signs up",
        "tries to read the key",
        "is not readable",
        "transaction 0x",
        "confirmed in block",
        "tx_max_value_eth",
        "simulated first",
        "awaiting_approval: Pay 0.01",
        "denied",
        "approved",
        "tx_daily_limit_eth",
        "stops it",
    ] {
        assert!(told.contains(part), "nothing of {part:?} in:\n{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uses_the_node_that_it_is_given() {
    let anvil = Anvil::start(&[]).await;
    let url = anvil.url();
    let none = tempfile::tempdir().unwrap();
    let output = tokio::task::spawn_blocking(move || demo(&["--rpc", &url, "--value", "0.5"], none.path()));
    let told = told(&output.await.unwrap());
    assert!(told.contains("at most 0.5 ether a transaction and 1 a day"), "{told}");
    let to = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
    // 10,000 ether to begin with, and two transfers.
    assert_eq!(anvil.balance(to).await, 10_001 * 10_u128.pow(18));
}

#[test]
fn says_in_one_line_what_is_missing() {
    let none = tempfile::tempdir().unwrap();
    let closed = format!("http://127.0.0.1:{}", harness::free_port());
    for (arguments, named) in [
        (vec![], "anvil"),
        (vec!["--rpc", closed.as_str()], "the node does not answer"),
        (vec!["--value", "much"], "value"),
    ] {
        let output = demo(&arguments, none.path());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("talon: ") && said.contains(named) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn interrupted_it_leaves_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    for signal in ["TERM", "HUP", "INT"] {
        let mut command = harness::talon();
        command.arg("demo").env("PATH", harness::anvil().parent().unwrap()).env("TMPDIR", temporary.path());
        let mut demo = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("stores a key")));
        harness::signal(demo.id(), signal);
        let output = demo.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && said.contains("interrupted"), "{signal}: {said}");
        nothing_left(temporary.path());
    }
}
