//! A browser with an authenticator, which others wrote.

use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::actors::Person;
use crate::parts;
use crate::replies::Call;

/// Where [`Browser`]s are, unless a test says otherwise: the gateway's `TALON_SIGNER_ORIGIN`.
pub const ORIGIN: &str = "https://talon.example";

/// It keeps its passkeys as long as it runs.
pub struct Browser {
    pub origin: String,
    asks: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _runs: Child,
}

impl Browser {
    pub fn start() -> Self {
        let mut command = Command::new("node");
        command.arg(parts::client_script("passkey.cjs"));
        command.env("TALON_TEST_NODE_MODULES", parts::node_modules("nid-webauthn-emulator"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut runs = command.spawn().expect("node is missing: tests/run says how to install it");
        let asks = runs.stdin.take().unwrap();
        let answers = BufReader::new(runs.stdout.take().unwrap()).lines();
        Self { origin: ORIGIN.to_owned(), asks, answers, _runs: runs }
    }

    async fn ask(&mut self, what: &str, options: &Value) -> Value {
        let line = format!("{}\n", json!({what: options, "origin": self.origin}));
        self.asks.write_all(line.as_bytes()).await.unwrap();
        let answer = self.answers.next_line().await.unwrap().expect("the browser refused, and ended");
        serde_json::from_str(&answer).unwrap()
    }

    /// Makes a passkey by the gateway's options; the body that adds it.
    pub async fn make(&mut self, options: &Value) -> Value {
        addition(&self.ask("create", options).await)
    }

    /// Confirms what the gateway wants confirmed: its 403; the header's value.
    pub async fn confirm(&mut self, refused: &Value) -> String {
        let options = request(refused, self.origin.split("://").nth(1).unwrap());
        header(&self.ask("get", &options).await)
    }
}

/// The body that adds what `navigator.credentials.create` gave.
pub fn addition(made: &Value) -> Value {
    let (data, object) = (&made["response"]["clientDataJSON"], &made["response"]["attestationObject"]);
    json!({"name": "phone", "id": made["id"], "clientDataJSON": data, "attestationObject": object})
}

/// The options of `navigator.credentials.get` for the gateway's 403.
pub fn request(refused: &Value, host: &str) -> Value {
    assert_eq!(refused["type"], "passkey_required", "{refused}");
    let ids = refused["allow_credentials"].as_array().unwrap().iter();
    let allowed: Vec<_> = ids.map(|id| json!({"type": "public-key", "id": id})).collect();
    json!({"challenge": refused["challenge"], "rpId": host, "allowCredentials": allowed,
        "userVerification": "required"})
}

/// The header's value for what that gave.
pub fn header(given: &Value) -> String {
    let response = &given["response"];
    let shown = json!({"id": given["id"], "clientDataJSON": response["clientDataJSON"],
        "authenticatorData": response["authenticatorData"], "signature": response["signature"]});
    URL_SAFE_NO_PAD.encode(shown.to_string())
}

impl Person<'_> {
    /// Adds this person's first passkey.
    pub async fn enrol(&self, browser: &mut Browser) -> Value {
        let options =
            self.call(reqwest::Method::POST, "/v1/auth/passkeys/challenge").expect(200, "challenge").await;
        let made = browser.make(&options).await;
        self.post("/v1/auth/passkeys", &made).expect(201, "phone").await
    }

    /// Does what needs a passkey: refused first, then done with it.
    pub async fn confirmed(&self, browser: &mut Browser, does: impl Fn() -> Call) -> Call {
        let refused = does().expect(403, "passkey_required").await;
        let shown = browser.confirm(&refused).await;
        does().header("x-passkey-assertion", &shown)
    }
}
