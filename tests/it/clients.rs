//! Clients that others wrote, as they come, against a whole Talon.

use std::process::Command;

use harness::{KEYS, World, both};

/// Runs a script that uses the `oneclaw` package against this Talon, up to its last line.
async fn walk(w: &World, script: &str, arguments: &[&str]) {
    let mut command = Command::new(harness::python("oneclaw"));
    // Without bytecode: the scripts share a module, and lie among the sources.
    command.arg("-B").arg(harness::client_script(script)).arg(&w.base).args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("the walk is done"), "{said}");
}

both! {
    with chain,
    async fn oneclaw_from_pypi(w: World) {
        walk(&w, "oneclaw_walk.py", &["ada@example.com", KEYS[0]]).await;
    }
}

both! {
    async fn oneclaw_from_pypi_identity(w: World) {
        walk(&w, "oneclaw_identity.py", &[w.data().join("outbox").to_str().unwrap()]).await;
    }
}
