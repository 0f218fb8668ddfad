//! A signer as on a host of its own: reached by mutual TLS alone.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::parts;
use crate::process::Process;

pub struct RemoteSigner {
    folder: TempDir,
    port: u16,
    process: Process,
}

impl RemoteSigner {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        certificates(&folder, "certificates");
        let port = parts::free_port();
        let signer = Self { process: launch(&folder, port), folder, port };
        signer.ready().await;
        signer
    }

    /// What a gateway is told.
    pub fn settings(&self) -> [(&'static str, String); 4] {
        let file = |name| self.certificate(name).display().to_string();
        [
            ("TALON_SIGNER", format!("tls:localhost:{}", self.port)),
            ("TALON_SIGNER_CA", file("ca.pem")),
            ("TALON_SIGNER_CERT", file("gateway.pem")),
            ("TALON_SIGNER_KEY", file("gateway-key.pem")),
        ]
    }

    pub fn certificate(&self, name: &str) -> PathBuf {
        self.folder.path().join("certificates").join(name)
    }

    /// Certificates of another CA; their folder.
    pub fn other_certificates(&self) -> PathBuf {
        certificates(&self.folder, "others")
    }

    pub fn said(&self) -> String {
        self.process.said()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    pub async fn restart(&mut self) {
        self.process.kill();
        self.process = launch(&self.folder, self.port);
        self.ready().await;
    }

    async fn ready(&self) {
        for _ in 0..400 {
            if self.said().contains("ready\n") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the signer does not start:\n{}", self.said());
    }
}

/// `talon-signer`, without what the environment of the tests says of other Talons.
fn talon_signer() -> Command {
    let mut command = Command::new(parts::built("talon-signer"));
    for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("TALON_")) {
        command.env_remove(key);
    }
    command
}

fn certificates(folder: &TempDir, name: &str) -> PathBuf {
    let out = folder.path().join(name);
    let made =
        talon_signer().arg("certificates").arg("--out").arg(&out).args(["--host", "localhost"]).output();
    let made = made.unwrap();
    assert!(made.status.success(), "{made:?}");
    out
}

fn launch(folder: &TempDir, port: u16) -> Process {
    let mut command = talon_signer();
    let at = |name: &str| folder.path().join("certificates").join(name);
    command
        .arg("run")
        .arg("--data")
        .arg(folder.path().join("data"))
        .args(["--listen", &format!("tls:localhost:{port}")])
        .arg("--tls-ca")
        .arg(at("ca.pem"))
        .arg("--tls-cert")
        .arg(at("signer.pem"))
        .arg("--tls-key")
        .arg(at("signer-key.pem"));
    Process::start(&mut command)
}
