//! One Talon with its database, its signer and, where a test wants it, a chain.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::any::AnyPoolOptions;
use sqlx::{AnyPool, AssertSqlSafe};
use tempfile::TempDir;

use crate::actors::Person;
use crate::beside::Beside;
use crate::certificates::Certificate;
use crate::chain::Anvil;
use crate::parts;
use crate::process::{Process, signal};
use crate::replies::Call;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Database {
    Sqlite,
    Postgres,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keystore {
    Software,
    /// SoftHSM2, with a token of this world's own.
    Hsm,
}

pub struct WorldDraft {
    database: Database,
    keystore: Keystore,
    chain: bool,
    durable: bool,
    tls: bool,
    named: bool,
    environment: Vec<(String, String)>,
}

impl WorldDraft {
    /// Passkeys and links are for `http://localhost:PORT`, where browsers make passkeys.
    pub fn named(mut self) -> Self {
        self.named = true;
        self
    }

    /// With a chain, named `local`.
    pub fn chain(mut self) -> Self {
        self.chain = true;
        self
    }

    /// With a chain that can be killed and comes back as it was.
    pub fn durable_chain(mut self) -> Self {
        (self.chain, self.durable) = (true, true);
        self
    }

    pub fn hsm(mut self) -> Self {
        self.keystore = Keystore::Hsm;
        self
    }

    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.into(), value.into()));
        self
    }

    pub fn all(mut self, settings: &[(&str, String)]) -> Self {
        self.environment.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        self
    }

    /// Listens with TLS, with a certificate that only this world's clients believe.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Without an operator from the configuration: the first start prints a link.
    pub fn without_operator(mut self) -> Self {
        self.environment.retain(|(key, _)| !key.starts_with("TALON_OPERATOR_"));
        self
    }

    pub async fn start(self) -> World {
        let folder = tempfile::tempdir().unwrap();
        let anvil = match (self.chain, self.durable) {
            (false, _) => None,
            (true, false) => Some(Anvil::start(&[]).await),
            (true, true) => Some(Anvil::durable(folder.path().join("chain.json")).await),
        };
        let mut environment = self.environment;
        if let Some(anvil) = &anvil {
            environment.push(("TALON_RPC_LOCAL".into(), anvil.url()));
        }
        let database_url = match self.database {
            Database::Sqlite => format!("sqlite://{}", folder.path().join("data/gateway/talon.db").display()),
            Database::Postgres => {
                let url = own_database().await;
                environment.push(("TALON_DATABASE_URL".into(), url.clone()));
                url
            }
        };
        let port = parts::free_port();
        if self.named {
            let url = format!("http://localhost:{port}");
            for key in ["TALON_PUBLIC_URL", "TALON_SIGNER_ORIGIN"] {
                environment.push((key.into(), url.clone()));
            }
        }
        if self.keystore == Keystore::Hsm {
            environment.extend(hsm(folder.path()));
        }
        let certificate = self.tls.then(|| Certificate::new("127.0.0.1"));
        let (scheme, http) = match &certificate {
            Some(own) => {
                environment.extend(own.write(folder.path()).map(|(k, v)| (k.to_owned(), v)));
                ("https", parts::believing(own).build().unwrap())
            }
            None => ("http", parts::http()),
        };
        let world = World {
            talon: Mutex::new(launch(folder.path(), port, &environment)),
            base: format!("{scheme}://127.0.0.1:{port}"),
            certificate,
            folder,
            port,
            environment,
            anvil: tokio::sync::Mutex::new(anvil),
            database: self.database,
            database_url,
            http,
        };
        world.ready().await;
        world
    }
}

pub struct World {
    talon: Mutex<Process>,
    pub base: String,
    /// What it shows, if it listens with TLS.
    pub certificate: Option<Certificate>,
    folder: TempDir,
    port: u16,
    environment: Vec<(String, String)>,
    pub anvil: tokio::sync::Mutex<Option<Anvil>>,
    pub database: Database,
    database_url: String,
    pub http: reqwest::Client,
}

impl World {
    pub fn on(database: Database) -> WorldDraft {
        let environment = vec![
            ("TALON_OPERATOR_EMAIL".into(), OPERATOR.into()),
            ("TALON_OPERATOR_PASSWORD".into(), PASSWORD.into()),
            // All actors share an address, and some tests try many wrong keys from it.
            ("TALON_LOGIN_TRIES_ADDRESS".into(), "1000000".into()),
            ("TALON_LOGIN_PLACES_ADDRESS".into(), "128".into()),
            // A world listens at an address, and passkeys need a name.
            ("TALON_SIGNER_ORIGIN".into(), crate::passkey::ORIGIN.into()),
        ];
        WorldDraft {
            database,
            keystore: Keystore::Software,
            chain: false,
            durable: false,
            tls: false,
            named: false,
            environment,
        }
    }

    pub fn call(&self, method: Method, path: &str, token: Option<&str>) -> Call {
        Call::new(&self.http, &self.base, method, path, token)
    }

    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path, None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Call {
        self.call(Method::POST, path, None).json(body)
    }

    /// Signs a person up, as the owner of an organisation of their own.
    pub async fn owner(&self, name: &str) -> Person<'_> {
        let email = format!("{name}@example.org");
        let body = json!({"email": email, "password": PASSWORD, "display_name": name});
        let answer = self.post("/v1/auth/signup", &body).expect(200, "access_token").await;
        Person::new(self, email, answer["access_token"].as_str().unwrap().to_owned())
    }

    /// The person who operates this world, as the configuration made them.
    pub async fn operator(&self) -> Person<'_> {
        let body = json!({"email": OPERATOR, "password": PASSWORD});
        let answer = self.post("/v1/auth/token", &body).expect(200, "access_token").await;
        Person::new(self, OPERATOR.to_owned(), answer["access_token"].as_str().unwrap().to_owned())
    }

    /// The chain.
    pub async fn anvil(&self) -> tokio::sync::MappedMutexGuard<'_, Anvil> {
        tokio::sync::MutexGuard::map(self.anvil.lock().await, |a| {
            a.as_mut().expect("a world without a chain")
        })
    }

    /// From now on the chain makes no block by itself: where transactions arrive all at once, in any order, anvil's
    /// automine now and then forgets some (foundry-rs/foundry#10122). [`World::while_blocks_come`] makes them.
    pub async fn hold_blocks(&self) {
        self.anvil().await.ask("evm_setAutomine", json!([false])).await;
    }

    /// Does this while a block comes each quarter of a second.
    pub async fn while_blocks_come<T>(&self, work: impl Future<Output = T>) -> T {
        let blocks = async {
            loop {
                tokio::time::sleep(Duration::from_millis(250)).await;
                self.anvil().await.ask("evm_mine", json!([])).await;
            }
        };
        tokio::select! {
            done = work => done,
            () = blocks => unreachable!("blocks come for ever"),
        }
    }

    /// A pool of its own on the database, to look into it, and to attack it.
    pub async fn database(&self) -> AnyPool {
        sqlx::any::install_default_drivers();
        AnyPoolOptions::new().max_connections(2).connect(&self.database_url).await.unwrap()
    }

    /// Runs SQL of the test's own.
    pub async fn sql(&self, text: &str) -> u64 {
        let pool = self.database().await;
        sqlx::query(AssertSqlSafe(text.to_owned())).execute(&pool).await.unwrap().rows_affected()
    }

    /// A command of Talon's on this world's data and database, such as `backup FILE`.
    pub fn command(&self, words: &[&str]) -> std::process::Command {
        let mut command = parts::talon();
        command
            .current_dir(self.folder.path())
            .args(words)
            .env("TALON_DATA", self.data())
            .envs(self.environment.iter().map(|(key, value)| (key, value)));
        command
    }

    /// Ends Talon, and leaves nothing of what it had: a new machine, with an empty database.
    pub async fn emptied(&self) {
        self.kill();
        // Whoever held files there is gone a moment later.
        tokio::time::sleep(Duration::from_millis(500)).await;
        std::fs::remove_dir_all(self.data()).unwrap();
        if self.database == Database::Postgres {
            self.sql("DROP SCHEMA public CASCADE").await;
            self.sql("CREATE SCHEMA public").await;
        }
    }

    /// A second gateway on this one's database and signer, with the same settings.
    pub async fn beside(&self) -> Beside<'_> {
        Beside::start(self, &self.environment).await
    }

    /// The database's address.
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The same place by the name that browsers make passkeys for.
    pub fn named(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }

    /// Where Talon listens.
    pub fn address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// What Talon has written so far.
    pub fn said(&self) -> String {
        self.talon.lock().unwrap().said()
    }

    /// SIGKILL to everything that belongs to Talon, at once.
    pub fn kill(&self) {
        self.talon.lock().unwrap().kill();
    }

    /// SIGTERM; the exit code.
    pub fn end(&self) -> Option<i32> {
        self.talon.lock().unwrap().end().code()
    }

    /// Starts Talon again on the same data.
    pub async fn restart(&self) {
        self.kill();
        // Whoever held the port and the ledger is gone a moment later.
        for _ in 0..200 {
            *self.talon.lock().unwrap() = launch(self.folder.path(), self.port, &self.environment);
            if self.is_ready().await {
                return;
            }
        }
        panic!("Talon does not start again:\n{}", self.said());
    }

    /// Starts Talon on data that it must not take. What it says.
    pub fn refuses_to_start(&self) -> String {
        let mut talon = launch(self.folder.path(), self.port, &self.environment);
        let status = talon.wait(Duration::from_secs(20));
        // What is still in the pipe.
        std::thread::sleep(Duration::from_millis(100));
        assert!(status.code().is_some_and(|code| code != 0), "{status}: {}", talon.said());
        talon.said()
    }

    /// SIGKILL to the process that serves, and to it alone; its pid.
    pub fn kill_worker(&self) -> Option<u32> {
        let children = self.talon.lock().unwrap().children();
        let worker = children.into_iter().find(|(_, line)| line.contains("--worker"))?.0;
        signal(worker, "KILL");
        Some(worker)
    }

    /// SIGKILL to the signer alone; its pid.
    pub fn kill_signer(&self) -> Option<u32> {
        let children = self.talon.lock().unwrap().children();
        let signer = children.into_iter().find(|(_, line)| line.contains("signer"))?.0;
        signal(signer, "KILL");
        Some(signer)
    }

    /// SIGSTOP or SIGCONT to the process that looks after the others: while it stands still, what dies stays dead.
    pub fn freeze_supervisor(&self, frozen: bool) {
        signal(self.talon.lock().unwrap().id(), if frozen { "STOP" } else { "CONT" });
    }

    /// Stops the signer where it is, or lets it go on.
    pub fn freeze_signer(&self, frozen: bool) {
        let children = self.talon.lock().unwrap().children();
        let signer = children.into_iter().find(|(_, line)| line.contains("signer")).expect("no signer").0;
        signal(signer, if frozen { "STOP" } else { "CONT" });
    }

    /// The processes that belong to Talon.
    pub fn processes(&self) -> Vec<(u32, String)> {
        self.talon.lock().unwrap().children()
    }

    async fn ready(&self) {
        if !self.is_ready().await {
            panic!("Talon does not start:\n{}", self.said());
        }
    }

    /// Whether it answers before it ends or patience does.
    async fn is_ready(&self) -> bool {
        for _ in 0..1200 {
            let up = self.get("/v1/health/hsm").try_reply().await;
            if up.is_some_and(|r| r.status == 200 && r.body["status"] == "ok") {
                return true;
            }
            if self.talon.lock().unwrap().has_ended() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        false
    }
}

const OPERATOR: &str = "operator@example.org";
pub const PASSWORD: &str = "Correct-Horse-42!x";

fn launch(folder: &Path, port: u16, environment: &[(String, String)]) -> Process {
    let mut command = parts::talon();
    command
        .current_dir(folder)
        .env("TALON_LISTEN", format!("127.0.0.1:{port}"))
        .env("TALON_DATA", folder.join("data"))
        .envs(environment.iter().map(|(k, v)| (k, v)));
    Process::start(&mut command)
}

/// A fresh database on the run's PostgreSQL.
async fn own_database() -> String {
    let server = parts::postgres();
    sqlx::any::install_default_drivers();
    // Random, from where the standard library has its own: process ids come again.
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
    let name = format!("talon_{random:016x}");
    let pool = AnyPoolOptions::new().max_connections(1).connect(&format!("{server}/postgres")).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&pool).await.unwrap();
    pool.close().await;
    format!("{server}/{name}")
}

/// A SoftHSM2 token for Talon, on which a first start makes its keys, and the configuration that names it.
fn hsm(folder: &Path) -> Vec<(String, String)> {
    let conf = parts::softhsm_token(folder).display().to_string();
    let pairs = [
        ("SOFTHSM2_CONF", conf),
        ("TALON_KEYSTORE", "pkcs11".into()),
        ("TALON_PKCS11_MODULE", parts::softhsm().display().to_string()),
        ("TALON_PKCS11_TOKEN", "talon".into()),
        ("TALON_PKCS11_PIN", parts::HSM_PIN.into()),
    ];
    pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}
