//! Chromium, driven as W3C WebDriver says.

use std::process::Command;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::parts;
use crate::passkey::{addition, header, request};
use crate::process::{Process, signal};

/// A browser with a profile of its own. It ends with the test.
pub struct Chromium {
    driver: Process,
    session: String,
    http: reqwest::Client,
    _profile: TempDir,
}

impl Chromium {
    pub async fn start() -> Self {
        let driver = Process::start(Command::new(parts::chromedriver()).arg("--port=0"));
        let port = loop {
            let said = driver.said();
            let port = said.split("successfully on port ").nth(1).and_then(|rest| rest.split_once('.'));
            if let Some((port, _)) = port {
                break port.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let profile = tempfile::tempdir().unwrap();
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let wanted = json!({"browserName": "chrome", "goog:chromeOptions": {"args": args},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}});
        let session = format!("http://127.0.0.1:{port}/session");
        let mut browser = Self { driver, session, http: parts::http(), _profile: profile };
        let begun = browser.ask("", json!({"capabilities": {"alwaysMatch": wanted}})).await;
        browser.session = format!("{}/{}", browser.session, begun["sessionId"].as_str().unwrap());
        browser
    }

    async fn ask(&self, path: &str, body: Value) -> Value {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let mut call = self.http.request(method, format!("{}{path}", self.session));
        if let Some(body) = &body {
            call = call.json(body);
        }
        let reply = call.send().await.unwrap();
        let status = reply.status();
        let mut answer: Value = reply.json().await.unwrap();
        assert!(status.is_success(), "{path}: {answer}\n{}", self.driver.said());
        answer["value"].take()
    }

    pub async fn open(&self, url: &str) {
        self.ask("/url", json!({"url": url})).await;
    }

    pub async fn reload(&self) {
        self.ask("/refresh", json!({})).await;
    }

    pub async fn source(&self) -> String {
        self.call(Method::GET, "/source", None).await.as_str().unwrap().to_owned()
    }

    async fn element(&self, css: &str) -> String {
        let found = self.ask("/element", json!({"using": "css selector", "value": css})).await;
        let id = found.as_object().unwrap().values().next().unwrap();
        format!("/element/{}", id.as_str().unwrap())
    }

    pub async fn click(&self, css: &str) {
        self.ask(&format!("{}/click", self.element(css).await), json!({})).await;
    }

    /// Types as a person would: what is not shown takes no keys.
    pub async fn write(&self, css: &str, text: &str) {
        self.ask(&format!("{}/value", self.element(css).await), json!({"text": text})).await;
    }

    /// The same in place of what stands there.
    pub async fn rewrite(&self, css: &str, text: &str) {
        self.ask(&format!("{}/clear", self.element(css).await), json!({})).await;
        self.write(css, text).await;
    }

    /// Waits until the page asks for a yes or no, and says it; what it has asked.
    pub async fn answer(&self, yes: bool) -> String {
        for _ in 0..200 {
            let shown = self.http.get(format!("{}/alert/text", self.session)).send().await.unwrap();
            if shown.status().is_success() {
                let asked: Value = shown.json().await.unwrap();
                self.ask(if yes { "/alert/accept" } else { "/alert/dismiss" }, json!({})).await;
                return asked["value"].as_str().unwrap().to_owned();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the page asks nothing: {:?}", self.complaints().await);
    }

    /// What a person sees there.
    pub async fn text(&self, css: &str) -> String {
        let path = format!("{}/text", self.element(css).await);
        self.call(Method::GET, &path, None).await.as_str().unwrap().to_owned()
    }

    /// Waits until it says so.
    pub async fn reads(&self, css: &str, part: &str) {
        let mut text = String::new();
        for _ in 0..200 {
            text = self.text(css).await;
            if text.contains(part) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{css} does not read {part:?}, but {text:?}: {:?}", self.complaints().await);
    }

    /// Runs the body of an `async (given) => { … }` in the page.
    pub async fn run(&self, body: &str, given: &Value) -> Value {
        let script = format!(
            "const [given, done] = arguments; (async () => {{ {body} }})().then(done, (e) => done({{failed: String(e)}}))"
        );
        let value = self.ask("/execute/async", json!({"script": script, "args": [given]})).await;
        assert!(value.get("failed").is_none(), "{value}");
        value
    }

    async fn log(&self, kind: &str) -> Vec<Value> {
        self.ask("/se/log", json!({"type": kind})).await.as_array().unwrap().clone()
    }

    /// What it has asked of servers since this was last looked at: the addresses.
    pub async fn asked(&self) -> Vec<String> {
        let sent = self.log("performance").await.into_iter().filter_map(|entry| {
            let event: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let event = &event["message"];
            let sent = event["method"] == "Network.requestWillBeSent";
            sent.then(|| event["params"]["request"]["url"].as_str().unwrap().to_owned())
        });
        sent.filter(|url| url.starts_with("http")).collect()
    }

    /// What is on its console since then, but statuses of answers.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.log("browser").await.into_iter();
        let severe = log.filter(|entry| entry["level"] == "SEVERE" && entry["source"] != "network");
        severe.map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    /// From now on somebody is at its built-in authenticator, and shows who they are.
    pub async fn with_authenticator(self) -> Self {
        let kind = json!({"protocol": "ctap2", "transport": "internal", "hasUserVerification": true,
            "isUserVerified": true});
        self.ask("/webauthn/authenticator", kind).await;
        self
    }

    /// Makes a passkey by the gateway's options; the body that adds it.
    pub async fn make(&self, options: &Value) -> Value {
        let script = "const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(given); \
                      return (await navigator.credentials.create({ publicKey })).toJSON();";
        addition(&self.run(script, options).await)
    }

    /// Confirms what the gateway wants confirmed: its 403; the header's value.
    pub async fn confirm(&self, refused: &Value) -> String {
        let script = "const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(given); \
                      return (await navigator.credentials.get({ publicKey })).toJSON();";
        header(&self.run(script, &request(refused, "localhost")).await)
    }
}

impl Drop for Chromium {
    /// The driver takes its browser along only when it is told to.
    fn drop(&mut self) {
        for (pid, _) in self.driver.children() {
            signal(pid, "KILL");
        }
    }
}
