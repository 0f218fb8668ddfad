//! Pages and passkeys in a real browser.

use harness::{Authenticator, Chromium, Database, PASSWORD, World, json};

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
    for path in
        ["/share/x", "/share/x/", "/verify", "/reset", "/join", "/enrolled", "/device", "/device/", "/setup"]
    {
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
    browser.write("#password", PASSWORD).await;
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
    browser.write("#password", PASSWORD).await;
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

const NEW: &str = "Another-Horse-42!x";

async fn login(w: &World, email: &str, password: &str) -> u16 {
    w.post("/v1/auth/token", &json!({"email": email, "password": password})).reply().await.status
}

/// Opens a link of a mail's, as if in a tab of its own: within a page, another fragment loads nothing.
async fn follow(browser: &Chromium, link: &str) {
    browser.open("about:blank").await;
    browser.asked().await;
    browser.open(link).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_let_in_by_its_page_after_a_yes() {
    let w = World::on(Database::Sqlite).named().start().await;
    let ada = w.owner("ada").await;
    let asks = json!({"client_id": "<b>tv</b>"});
    let device = w.post("/v1/auth/device/code", &asks).expect(200, "user_code").await;
    let poll = async || {
        let grant = "urn:ietf:params:oauth:grant-type:device_code";
        let body = json!({"device_code": device["device_code"], "grant_type": grant});
        w.post("/v1/auth/device/token", &body).expect(200, "").await
    };
    let browser = Chromium::start().await;
    assert_eq!(device["verification_uri"], w.named("/device"));
    browser.open(&w.named("/device")).await;
    browser.reads("#title", "Let a device in").await;
    browser.write("#user_code", "AAAA-AAAA").await;
    browser.write("#email", &ada.email).await;
    browser.write("#password", NEW).await;
    browser.click("#button").await;
    browser.reads("#answer", "No such device code").await;
    // Its name is shown as it is, before anything is done.
    browser.rewrite("#user_code", device["user_code"].as_str().unwrap()).await;
    browser.click("#button").await;
    let asked = browser.answer(false).await;
    assert!(asked.contains("\"<b>tv</b>\" asks to act as you"), "{asked}");
    browser.reads("#answer", "Nothing was done").await;
    assert_eq!(poll().await, json!({"error": "authorization_pending"}));
    browser.click("#button").await;
    browser.answer(true).await;
    browser.reads("#answer", "Wrong email or password").await;
    let at = format!("/v1/auth/device/code/{}", device["user_code"].as_str().unwrap());
    w.get(&at).expect(200, "pending").await;
    browser.rewrite("#password", PASSWORD).await;
    browser.click("#button").await;
    browser.answer(true).await;
    browser.reads("#answer", "The device goes on by itself").await;
    let given = poll().await;
    assert_eq!(given["email"], "ada@example.org", "{given}");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_password_is_set_by_its_page() {
    let w = World::on(Database::Sqlite).named().start().await;
    let ada = w.owner("ada").await;
    w.post("/v1/auth/forgot-password", &json!({"email": ada.email})).expect(202, "").await;
    let ticket = w.ticket(&ada.email, "A new password").await;
    let (page, browser) = (w.named("/reset"), Chromium::start().await);
    let link = format!("{page}#{ticket}");
    follow(&browser, &link).await;
    // The ticket is neither sent nor shown before the button is pressed.
    assert_eq!(browser.asked().await, std::slice::from_ref(&page), "the page alone");
    assert_eq!(browser.run("return location.href;", &json!(null)).await, page);
    assert!(!browser.source().await.contains(&ticket));
    browser.write("#password", "weak").await;
    browser.click("#button").await;
    browser.reads("#answer", "needs at least 12 characters").await;
    browser.rewrite("#password", NEW).await;
    browser.click("#button").await;
    browser.reads("#answer", "You can log in with it now").await;
    assert_eq!((login(&w, &ada.email, PASSWORD).await, login(&w, &ada.email, NEW).await), (401, 200));
    follow(&browser, &link).await;
    browser.write("#password", PASSWORD).await;
    browser.click("#button").await;
    browser.reads("#answer", "used up").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_mails_do_what_their_mails_say() {
    let w = World::on(Database::Sqlite).named().start().await;
    let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
    let browser = Chromium::start().await;
    // An agent's key.
    let asks = json!({"name": "scout", "human_email": ada.email});
    let agent = w.post("/v1/agents/enroll", &asks).expect(201, "agent_id").await;
    let ticket = w.ticket(&ada.email, "An agent asks for its key").await;
    follow(&browser, &w.named(&format!("/enrolled#{ticket}"))).await;
    browser.click("#button").await;
    browser.reads("#answer", "Key: ocv_").await;
    let told = browser.text("#answer").await;
    assert!(told.contains(agent["agent_id"].as_str().unwrap()), "{told}");
    let key = told.split_once("Key: ").unwrap().1.trim();
    w.post("/v1/auth/agent-token", &json!({"api_key": key})).expect(200, "access_token").await;
    // Who is new signs up; who has an account, and a second factor, moves.
    let setup = eve.post("/v1/auth/mfa/setup", &json!({})).expect(200, "secret").await;
    let app = Authenticator::new(setup["secret"].as_str().unwrap());
    let code = json!({"code": app.code(-1).await});
    eve.post("/v1/auth/mfa/verify-setup", &code).expect(200, "recovery_codes").await;
    for (email, has_app) in [("bob@example.org", false), ("eve@example.org", true)] {
        ada.post("/v1/org/invite", &json!({"email": email})).expect(200, email).await;
        let ticket = w.ticket(email, "You are invited").await;
        follow(&browser, &w.named(&format!("/join#{ticket}"))).await;
        browser.write("#email", email).await;
        browser.write("#password", PASSWORD).await;
        if has_app {
            browser.write("#code", &app.code(0).await).await;
        }
        browser.click("#button").await;
        browser.reads("#answer", "Done. You can log in now").await;
    }
    let people = ada.get("/v1/org/members").expect(200, "bob@example.org").await;
    assert!(
        people["members"].as_array().unwrap().iter().any(|one| one["email"] == "eve@example.org"),
        "{people}"
    );
    // An address that its person confirms.
    let on = json!({"value": "true"});
    w.operator().await.put("/v1/admin/settings/auth.email_verification", &on).expect(200, "").await;
    let zoe = "zoe@example.org";
    w.post("/v1/auth/signup", &json!({"email": zoe, "password": PASSWORD}))
        .expect(200, "Check your mail")
        .await;
    let ticket = w.ticket(zoe, "Confirm your address").await;
    follow(&browser, &w.named(&format!("/verify#{ticket}"))).await;
    browser.write("#password", PASSWORD).await;
    assert_eq!(login(&w, zoe, PASSWORD).await, 401);
    browser.click("#button").await;
    browser.reads("#answer", "Done. You can log in now").await;
    assert_eq!(login(&w, zoe, PASSWORD).await, 200);
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}
