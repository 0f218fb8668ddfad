//! Pages and passkeys in a real browser.

use harness::{Chromium, Database, World, json};

use crate::approvals::step;
use crate::shares::{secret, share};
use crate::tx_approvals::{careful, funded, waits};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_value_is_fetched_when_its_button_is_pressed() {
    let w = World::on(Database::Sqlite).named().start().await;
    let ada = w.owner("ada").await;
    let vault = ada.vault("main").await;
    let secret = secret(&vault, "api/token", "api_key").await;
    let browser = Chromium::start().await;
    let phrase = "corréct horse";
    let open = json!({"recipient_type": "anyone_with_link", "max_access_count": 1});
    let closed = json!({"recipient_type": "anyone_with_link", "max_access_count": 1, "passphrase": phrase});
    for (terms, phrase) in [(open, None), (closed, Some(phrase))] {
        let page = w.named(&format!("/share/{}", share(&ada, &secret, terms).await));
        browser.open("about:blank").await;
        browser.asked().await;
        browser.open(&page).await;
        assert!(!browser.source().await.contains("hunter2"));
        assert_eq!(browser.asked().await, std::slice::from_ref(&page), "the page alone");
        let count = async || {
            let list = ada.get("/v1/shares/outbound").expect(200, "shares").await;
            let shares = list["shares"].as_array().unwrap().clone();
            let found = shares.into_iter().find(|share| page.ends_with(share["id"].as_str().unwrap()));
            found.unwrap()["access_count"].clone()
        };
        browser.click("#button").await;
        if let Some(phrase) = phrase {
            browser.reads("#answer", "has a passphrase").await;
            browser.write("#passphrase", "wrong").await;
            browser.click("#button").await;
            browser.reads("#answer", "passphrase is wrong").await;
            assert_eq!(count().await, 0);
            browser.run("document.getElementById('passphrase').value = '';", &json!(null)).await;
            browser.write("#passphrase", phrase).await;
            browser.click("#button").await;
        }
        browser.reads("#value", "hunter2").await;
        assert_eq!(count().await, 1);
        // Loaded again, it is the page again; what is used up says so.
        browser.reload().await;
        assert!(!browser.source().await.contains("hunter2"));
        assert_eq!(count().await, 1);
        browser.click("#button").await;
        browser.reads("#answer", "accesses are used up").await;
        assert_eq!(browser.complaints().await, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_run_their_own_script_alone() {
    let w = World::on(Database::Sqlite).named().start().await;
    let browser = Chromium::start().await;
    for path in ["/share/x", "/verify", "/reset", "/join", "/device", "/setup"] {
        browser.open(&w.named(path)).await;
        assert_eq!(browser.complaints().await, Vec::<String>::new(), "{path}");
        // Theirs, put into the page; and from elsewhere.
        let script = "const put = (fill) => { const s = document.createElement('script'); fill(s); document.body.append(s); \
                      return s; }; put((s) => { s.textContent = 'window.ran = 1'; }); \
                      const loaded = await new Promise((end) => put((s) => { s.onload = () => end(true); \
                      s.onerror = () => end(false); s.src = given; })); return [loaded, !!window.ran];";
        let ran = browser.run(script, &json!(format!("{}/v1/health", w.base))).await;
        assert_eq!(ran, json!([false, false]), "{path}");
        let refused = browser.complaints().await;
        assert!(refused.len() == 2 && refused.iter().all(|line| line.contains("script-src")), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_kept_out_by_its_page() {
    let w = World::on(Database::Sqlite).named().start().await;
    let ada = w.owner("ada").await;
    let device = w.post("/v1/auth/device/code", &json!({"client_id": "tv"})).expect(200, "user_code").await;
    let browser = Chromium::start().await;
    browser.open(&w.named("/device")).await;
    browser.write("#user_code", device["user_code"].as_str().unwrap()).await;
    browser.write("#email", &ada.email).await;
    browser.write("#password", harness::PASSWORD).await;
    browser.click("#deny").await;
    browser.reads("#answer", "The device stays out").await;
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    let body = json!({"device_code": device["device_code"], "grant_type": grant});
    w.post("/v1/auth/device/token", &body).expect(200, "access_denied").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_asks_for_nothing_without_its_link() {
    let w = World::on(Database::Sqlite).named().start().await;
    let browser = Chromium::start().await;
    let look =
        "return [document.title, !!document.getElementById('form'), !!document.getElementById('deny')];";
    for (path, title, told) in [
        ("/verify", "Talon: Confirm your address", "Open the link in the mail again"),
        ("/reset", "Talon: A new password", "Open the link in the mail again"),
        ("/enrolled", "Talon: An agent's key", "Open the link in the mail again"),
        ("/join", "Talon: Join an organisation", "Open the link in the mail again"),
        ("/setup", "Talon: first start", "Open the link that Talon printed"),
    ] {
        browser.open(&w.named(path)).await;
        browser.reads("#text", told).await;
        assert_eq!(browser.run(look, &json!(null)).await, json!([title, false, false]), "{path}");
        browser.open("about:blank").await;
        browser.open(&w.named(&format!("{path}#x"))).await;
        assert_eq!(browser.run(look, &json!(null)).await, json!([title, true, false]), "{path}");
        assert!(!browser.text("#text").await.contains(told), "{path}");
    }
    browser.open(&w.named("/device")).await;
    assert_eq!(browser.run(look, &json!(null)).await, json!(["Talon: Let a device in", true, true]));
    // What is wrong is told in a sentence, not by the name of a field.
    browser.open(&w.named("/reset#x")).await;
    browser.write("#password", harness::PASSWORD).await;
    browser.click("#button").await;
    browser.reads("#answer", "The link is used up or has expired").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browsers_passkey_approves_what_was_shown_and_nothing_else() {
    let w = World::on(Database::Sqlite).named().chain().start().await;
    let ada = w.owner("ada").await;
    let vault = funded(&ada).await;
    let bot = careful(&ada, &vault, json!({"always": true})).await;
    let browser = Chromium::start().await.with_authenticator().await;
    browser.open(&w.named("/share/x")).await;
    let options = ada.post("/v1/auth/passkeys/challenge", &json!({})).expect(200, "challenge").await;
    let made = browser.make(&options).await;
    ada.post("/v1/auth/passkeys", &made).expect(201, "phone").await;
    let ((tx, one), (_, two)) = (waits(&bot, "1").await, waits(&bot, "9").await);
    let refused = ada.post(&step(&one, "approve"), &json!({})).expect(403, "passkey_required").await;
    let shown = browser.confirm(&refused).await;
    let with = |id: &str| ada.post(&step(id, "approve"), &json!({})).header("x-passkey-assertion", &shown);
    with(&two).expect(403, "another challenge").await;
    with(&one).expect(200, "\"approved\"").await;
    bot.until(&tx, "confirmed").await;
}
