//! `talon admin`: what operators do, from a shell.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use harness::{Certificate, Database, Value, World, both, json};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    #[track_caller]
    fn expect(self, code: i32, fragment: &str) -> Self {
        let said = format!("{}{}", self.out, self.err);
        assert!(
            self.code == code && said.contains(fragment),
            "expected {code} with {fragment:?}, got {}:\n{said}",
            self.code
        );
        // Answers on one stream, troubles on the other.
        assert_eq!(code == 0, self.err.is_empty(), "{said}");
        assert!(code == 0 || self.out.is_empty(), "{said}");
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap()
    }
}

struct Shell<'w> {
    w: &'w World,
    token: String,
}

impl Shell<'_> {
    fn run(&self, arguments: &str) -> Said {
        self.with(&["--url", &self.w.base], arguments, None)
    }

    fn with(&self, more: &[&str], arguments: &str, input: Option<&str>) -> Said {
        let mut command = admin(arguments);
        command.args(more).env("TALON_TOKEN", &self.token);
        let said = said(command, input);
        let all = format!("{}{}", said.out, said.err);
        assert!(self.token.is_empty() || !all.contains(&self.token), "the token is shown: {all}");
        said
    }
}

fn admin(arguments: &str) -> Command {
    let mut command = harness::talon();
    command.arg("admin").args(arguments.split_whitespace()).current_dir(std::env::temp_dir());
    command
}

fn said(mut command: Command, input: Option<&str>) -> Said {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.unwrap_or_default().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn file(w: &World, name: &str, text: &str) -> PathBuf {
    let path = w.data().parent().unwrap().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

both! {
    async fn chains_are_listed_added_changed_and_removed(w: World) {
        let shell = Shell { w: &w, token: w.operator().await.token };
        let list = shell.run("chains list").expect(0, "base-sepolia").out;
        let (head, first) = (list.lines().next().unwrap(), list.lines().nth(1).unwrap());
        assert!(head.starts_with("NAME ") && first.starts_with("ethereum "), "{list}");
        assert_eq!(head.find("CHAIN ID"), first.find(" 1 ").map(|at| at + 1), "columns stand under their heads: {list}");

        shell.run("chains add own --chain-id 777001 --rpc-url http://127.0.0.1:1 --testnet --currency XYZ").expect(0, "http://127.0.0.1:1");
        shell.run("chains add own --chain-id 777002").expect(1, "this name already");
        shell.run("chains add Own --chain-id 777002").expect(1, "name: must have");
        let seen = shell.run("chains list --json").expect(0, "").json();
        let own = seen["chains"].as_array().unwrap().iter().find(|c| c["name"] == "own").unwrap().clone();
        assert_eq!((&own["display_name"], &own["is_testnet"], &own["native_currency"]), (&json!("own"), &json!(true), &json!("XYZ")));

        // An address that holds a key is read from a file, or from standard input.
        let url = file(&w, "url", "https://node.example/hunter2hunter2\n");
        let set = shell.run(&format!("chains set own --enabled false --rpc-url-file {} --json", url.display())).expect(0, "hunter2").json();
        assert_eq!((&set["is_enabled"], &set["rpc_url"]), (&json!(false), &json!("https://node.example/hunter2hunter2")));
        let base = ["--url", &w.base];
        shell.with(&base, "chains set 777001 --rpc-url-file -", Some("http://127.0.0.1:2")).expect(0, "http://127.0.0.1:2");
        let cleared = shell.run(&format!("chains set {} --no-rpc-url --json", own["id"].as_str().unwrap())).expect(0, "").json();
        assert_eq!((cleared.get("rpc_url"), &cleared["is_enabled"]), (None, &json!(false)));
        shell.run("chains set own").expect(2, "nothing was given");
        shell.run("chains set own --rpc-url x --no-rpc-url").expect(2, "cannot be used with");
        shell.run("chains set nowhere --enabled true").expect(1, "no chain is called nowhere");
        assert_eq!(shell.run("chains remove own --json").expect(0, "").out, "");
        shell.run("chains remove own").expect(1, "no chain is called own");
        shell.run("chains remove base").expect(0, "base is removed");
        w.get("/v1/chains/base").expect(404, "").await;
    }
}

both! {
    async fn settings_are_listed_set_and_put_back(w: World) {
        let shell = Shell { w: &w, token: w.operator().await.token };
        shell.run("settings list").expect(0, "intents_api.require_simulation       false  true or false  default");
        let set = shell.run("settings set auth.open_signup false --json").expect(0, "").json();
        assert_eq!((&set["value"], &set["default"]), (&json!("false"), &json!("true")));
        let eve = json!({"email": "eve@example.org", "password": harness::PASSWORD});
        w.post("/v1/auth/signup", &eve).expect(403, "").await;
        shell.run("settings set auth.open_signup maybe").expect(1, "must be true or false");
        shell.run("settings set auth.open_sesame true").expect(1, "There are: auth.email_verification, auth.open_signup");
        shell.run("settings set ../chains true").expect(1, "No such setting");
        shell.run("settings unset auth.open_signup").expect(0, "at its default");
        w.post("/v1/auth/signup", &eve).expect(200, "").await;
        // The same trail as by any other way.
        let events: (i64,) = sqlx::query_as("SELECT COUNT(*) FROM audit_events WHERE action LIKE 'setting.%' AND actor_type = 'user'")
            .fetch_one(&w.database().await).await.unwrap();
        assert_eq!(events.0, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_and_what_can_not_be() {
    let w = World::on(Database::Sqlite).start().await;
    let eve = w.owner("eve").await;
    let bot = eve.agent("bot").make().await;
    let shell = |token: &str| Shell { w: &w, token: token.to_owned() };
    for token in [&eve.token, &bot.token, &bot.key] {
        shell(token).run("chains list").expect(1, "people who operate this installation");
        shell(token).run("settings set auth.open_signup false").expect(1, "people who operate");
    }
    shell("x.y.z").run("chains list").expect(1, "not valid");
    shell("").run("chains list").expect(2, "needs an operator's token: set TALON_TOKEN");
    shell("a\u{7f}b").run("chains list").expect(2, "one line of ASCII");
    let root = w.operator().await.token;
    let with = |url: &str| shell(&root).with(&["--url", url], "chains list", None);
    with("http://192.0.2.1:1").expect(2, "in the clear");
    with("vault").expect(2, "--url must be");
    with(&w.base.replace("http://", "http://user:hunter2@")).expect(2, "--url must be");
    with(&format!("http://127.0.0.1:{}", harness::free_port())).expect(3, "does not answer");
    // Something else that answers there.
    with(&format!("{}/elsewhere", w.base)).expect(1, "nothing at this address");
    shell(&root).run("chains lst").expect(2, "unrecognized subcommand");
    shell(&root).run("--token-file /nowhere chains list").expect(2, "/nowhere");
    shell(&root).run("--ca /nowhere chains list").expect(2, "/nowhere");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_is_found_by_its_configuration_and_the_token_by_its_file() {
    let w = World::on(Database::Sqlite).start().await;
    let root = w.operator().await.token;
    let token = file(&w, "token", &format!("{root}\n"));
    let config = file(&w, "other.toml", &format!("listen = \"{}\"\n", w.address()));
    let command = format!("settings list --token-file {} --config {}", token.display(), config.display());
    said(admin(&command), None).expect(0, "auth.open_signup");
    // The file is over the variable, and the environment is over the configuration's file.
    let mut both = admin(&command);
    both.env("TALON_TOKEN", "x.y.z").env("TALON_LISTEN", format!("127.0.0.1:{}", harness::free_port()));
    said(both, None).expect(3, "does not answer");
    let mut both = admin(&command);
    both.env("TALON_TOKEN", "x.y.z").env("TALON_PUBLIC_URL", &w.base);
    said(both, None).expect(0, "auth.open_signup");
    let mut piped = admin("settings list --token-file -");
    piped.env("TALON_PUBLIC_URL", &w.base);
    said(piped, Some(&root)).expect(0, "auth.open_signup");
    let mut wrong = admin("settings list");
    wrong.env("TALON_TOKEN", &root).env("TALON_LISTN", "x");
    said(wrong, None).expect(2, "TALON_LISTN is not a setting");
}

/// Shows this certificate to whoever comes, and does nothing else; its port.
fn showing(certificate: &Certificate) -> u16 {
    let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap();
    let chain = vec![CertificateDer::from(certificate.der.clone())];
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind(("127.0.0.1", 0)).unwrap());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut connection = ServerConnection::new(config.clone()).unwrap();
            let _refused = connection.complete_io(&mut stream.unwrap());
        }
    });
    port
}

/// As openssl makes one, unless it is told otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authoritys_certificate_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let run = |certificate: &Certificate| {
        std::fs::write(&path, &certificate.pem).unwrap();
        let url = format!("https://127.0.0.1:{}", showing(certificate));
        let mut command = admin(&format!("chains list --url {url} --ca {}", path.display()));
        command.env("TALON_TOKEN", "x.y.z");
        said(command, None).expect(3, "does not answer").err
    };
    let refused = run(&Certificate::authority("127.0.0.1"));
    assert!(refused.contains("basicConstraints=critical,CA:FALSE"), "{refused}");
    // A server's own is taken: there is only nobody who answers.
    let taken = run(&Certificate::new("127.0.0.1"));
    assert!(!taken.contains("certificate"), "{taken}");
}

/// A shell in which the token is exported starts a gateway like any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_does_not_see_the_token() {
    let w = World::on(Database::Sqlite).with("TALON_TOKEN", "hunter2hunter2").start().await;
    w.get("/v1/health").expect(200, "").await;
    for (pid, line) in w.processes() {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
        assert!(!String::from_utf8_lossy(&environment).contains("hunter2"), "{line}");
    }
}
