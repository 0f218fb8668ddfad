//! A second gateway on a world's database and signer.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;

use crate::parts;
use crate::process::Process;
use crate::replies::Call;
use crate::world::World;

pub struct Beside<'w> {
    pub(crate) world: &'w World,
    process: Process,
    pub(crate) base: String,
    _folder: TempDir,
}

impl<'w> Beside<'w> {
    pub(crate) async fn start(world: &'w World, environment: &[(String, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = parts::free_port();
        let mut command = parts::talon();
        command
            .current_dir(folder.path())
            .envs(environment.iter().map(|(key, value)| (key, value)))
            .env("TALON_LISTEN", format!("127.0.0.1:{port}"))
            .env("TALON_DATA", folder.path().join("data"))
            .env("TALON_DATABASE_URL", world.database_url())
            .env("TALON_SIGNER", format!("unix:{}", world.data().join("run/signer.sock").display()));
        let process = Process::start(&mut command);
        let mut beside = Self { world, process, base: format!("http://127.0.0.1:{port}"), _folder: folder };
        for _ in 0..800 {
            if beside
                .call(Method::GET, "/v1/health/hsm", None)
                .try_reply()
                .await
                .is_some_and(|r| r.status == 200)
            {
                return beside;
            }
            assert!(!beside.process.has_ended(), "{}", beside.said());
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the second gateway does not start:\n{}", beside.said());
    }

    pub fn call(&self, method: Method, path: &str, token: Option<&str>) -> Call {
        Call::new(&self.world.http, &self.base, method, path, token)
    }

    pub fn get(&self, path: &str, token: &str) -> Call {
        self.call(Method::GET, path, Some(token))
    }

    pub fn post(&self, path: &str, body: &Value) -> Call {
        self.call(Method::POST, path, None).json(body)
    }

    /// What it has written so far.
    pub fn said(&self) -> String {
        self.process.said()
    }
}
