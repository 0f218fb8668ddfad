//! Clients that others wrote, as they come, against a whole Talon.

use std::process::Command;

use harness::{KEYS, both};

both! {
    with chain,
    async fn oneclaw_from_pypi(w: World) {
        let walk = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/oneclaw_walk.py");
        let mut command = Command::new(harness::python("oneclaw"));
        command.args([walk, &w.base, "ada@example.com", KEYS[0]]);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("the walk is done"), "{said}");
    }
}
