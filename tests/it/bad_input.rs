//! What no client should send: refused quickly, with a sentence that names the field and repeats no value.

use std::time::{Duration, Instant};

use harness::{Person, Reply, UNSEEN, both, json};
use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Sends a body as it is, as JSON.
async fn raw(ada: &Person<'_>, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Reply {
    let begun = Instant::now();
    let reply = ada.call(method, path).header("content-type", "application/json").body(body).reply().await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{path}: {:?}", begun.elapsed());
    reply
}

both! {
    async fn broken_json_is_placed_and_never_echoed(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let path = vault.path("a");
        for (body, named) in [
            (r#"{"value": "hunter2"#, "line 1"),
            (r#"{"value": hunter2}"#, "value"),
            (r#"{"value": {"hunter2": 1}}"#, "value"),
            (r#"{"value": "v", "type": "hunter2"}"#, "type"),
            (r#"{"value": "v", "max_access_count": "hunter2"}"#, "max_access_count"),
            (r#"{"value": "v", "max_access_count": -1}"#, "max_access_count"),
            (r#"{"value": "v", "expires_at": "hunter2"}"#, "expires_at"),
            (r#"{"value": "v", "metadata": ["hunter2"]}"#, "metadata"),
            (r#"{"value": "v"} hunter2"#, "line 1"),
            (r#"["hunter2"]"#, "body"),
            ("", "line 1"),
            ("null", "body"),
        ] {
            let problem = raw(&ada, Method::PUT, &path, body).await.expect(400, named);
            assert!(!problem.to_string().contains("hunter2"), "{problem}");
        }
        ada.get(&path).expect(404, "secret").await;
        assert!(!w.said().contains("hunter2"), "the log holds what was sent");
    }
}

both! {
    async fn too_much_too_deep_or_no_text_at_all(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let path = vault.path("a");
        raw(&ada, Method::PUT, &path, format!(r#"{{"value": "{}"}}"#, "x".repeat(2 << 20))).await.expect(413, "1 MiB");
        let deep = format!(r#"{{"value": "v", "metadata": {}{}}}"#, r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
        raw(&ada, Method::PUT, &path, deep).await.expect(400, "nested");
        raw(&ada, Method::PUT, &path, b"{\"value\": \"\xff\xfe\"}".to_vec()).await.expect(400, "UTF-8");
        let metadata = json!({"value": "v", "metadata": {"note": "x".repeat(20_000)}});
        ada.put(&path, &metadata).expect(400, "metadata").await;
        let segments = "a/".repeat(10_000) + "a";
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            raw(&ada, method, &vault.path(&segments), "{}").await.expect(400, "path");
        }
        raw(&ada, Method::GET, &format!("/v1/vaults/{}/secrets?prefix={}", vault.id, "x".repeat(20_000)), "").await.expect(400, "");
        ada.get(&format!("{path}?%ff=%00")).expect(404, "secret").await;
        ada.get(&path).expect(404, "secret").await;
    }
}

// Most clients listen only when they have sent everything: the refusal must still be there then.
both! {
    async fn who_sends_too_much_still_hears_why(w: World) {
        let mut stream = tokio::net::TcpStream::connect(w.address()).await.unwrap();
        let head = "POST /v1/auth/signup HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n\
                    content-length: 8388608\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..128 {
            stream.write_all(&[b'x'; 64 * 1024]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("1 MiB"), "{answer}");
    }
}

both! {
    async fn only_json_is_read(w: World) {
        let ada = w.owner("ada").await;
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""] {
            let call = ada.call(Method::POST, "/v1/vaults").header("content-type", kind).body(r#"{"name": "main"}"#);
            call.expect(415, "application/json").await;
        }
        let call = ada.call(Method::POST, "/v1/vaults").header("content-type", "application/json; charset=utf-8");
        call.body(r#"{"name": "main"}"#).expect(201, "main").await;
        // Newer clients send fields that are not known here.
        ada.post("/v1/vaults", &json!({"name": "other", "colour": "red"})).expect(201, "other").await;
    }
}

both! {
    async fn names_that_can_not_be_shown_are_refused(w: World) {
        let ada = w.owner("ada").await;
        for name in ["", "  ", "a\u{0}b", "line\nbreak", "\u{1b}[31m", &"x".repeat(201)] {
            ada.post("/v1/vaults", &json!({"name": name})).expect(400, "name").await;
            ada.post("/v1/agents", &json!({"name": name})).expect(400, "name").await;
        }
        // Anything else is a name, and comes back as it was.
        let name = r#"Δοκιμή <b>"'; DROP TABLE vaults; --"#;
        let made = ada.post("/v1/vaults", &json!({"name": name})).expect(201, "").await;
        assert_eq!(made["name"], name);
        let list = ada.get("/v1/vaults").expect(200, "").await;
        assert_eq!(list["vaults"][0]["name"], name);
    }
}

both! {
    /// Tags say to models what people don't see.
    async fn what_can_not_be_seen_is_in_no_name_and_no_description(w: World) {
        let ada = w.owner("ada").await;
        let bot = ada.agent("bot").make().await;
        let agent = format!("/v1/agents/{}", bot.id);
        for unseen in UNSEEN {
            let odd = format!("a{unseen}b");
            ada.patch("/v1/auth/me", &json!({"display_name": odd})).expect(400, "display_name: must have").await;
            for path in ["/v1/agents", "/v1/vaults"] {
                ada.post(path, &json!({"name": odd})).expect(400, "name: must have").await;
                ada.post(path, &json!({"name": "ok", "description": odd})).expect(400, "description: must have").await;
            }
            ada.patch(&agent, &json!({"name": odd})).expect(400, "name: must have").await;
            ada.patch(&agent, &json!({"description": odd})).expect(400, "description: must have").await;
        }
        // Emoji look as they were typed, and a description has lines.
        let (name, description) = ("Ada ❤\u{fe0f}", "what it does:\r\n\t1. 🤖\n\t2. ☎\u{fe0f}");
        let me = ada.patch("/v1/auth/me", &json!({"display_name": name})).expect(200, "").await;
        assert_eq!(me["display_name"], name);
        let bot = ada.patch(&agent, &json!({"name": name, "description": description})).expect(200, "").await;
        assert_eq!((&bot["name"], &bot["description"]), (&json!(name), &json!(description)));
    }
}

both! {
    async fn values_come_back_byte_for_byte(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        for (n, value) in ["", "\u{0}", "\u{10ffff}\r\n\t\"\\", "  spaces  ", "ä\u{301}"].iter().enumerate() {
            let path = format!("v/{n}");
            vault.put(&path, "generic", value).await;
            assert_eq!(ada.get(&vault.path(&path)).expect(200, "").await["value"], **value);
        }
    }
}

both! {
    async fn pages_for_people_may_end_with_a_slash(w: World) {
        for page in ["/verify", "/reset", "/enrolled", "/join", "/device", "/setup", "/share/x"] {
            let plain = w.get(page).reply().await;
            let ended = w.get(&format!("{page}/")).reply().await;
            assert_eq!((plain.status, ended.status), (200, 200), "{page}");
            assert!(plain.text.contains("<script>") && plain.text == ended.text, "{page}");
        }
        // Operations have one address each.
        w.get("/v1/health/").expect(404, "nothing at this address").await;
    }
}

// What is no HTTP at all ends its own connection and nothing else.
both! {
    async fn noise_on_the_wire(w: World) {
        for noise in ["\u{16}\u{3}\u{1}", "GET / HTTP/9.9\r\n\r\n", "POST /v1/vaults HTTP/1.1\r\ncontent-length: x\r\n\r\n",
            "GET /v1/health HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\nhello"] {
            let mut stream = tokio::net::TcpStream::connect(w.address()).await.unwrap();
            stream.write_all(noise.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = Vec::new();
            let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
            assert!(read.is_ok(), "the connection stays open after {noise:?}");
            assert!(!answer.starts_with(b"HTTP/1.1 5"), "{}", String::from_utf8_lossy(&answer));
        }
        // One that never ends its request holds up nobody.
        let mut slow = tokio::net::TcpStream::connect(w.address()).await.unwrap();
        slow.write_all(b"GET /v1/health HTTP/1.1\r\nhost:").await.unwrap();
        w.get("/v1/health").expect(200, "healthy").await;
    }
}
