//! An exported trail, checked by `talon audit verify` with nothing but the file, the key and a checkpoint.

use std::path::{Path, PathBuf};
use std::process::Output;

use harness::{Person, Value, World, both, json};

struct Kept {
    folder: tempfile::TempDir,
    jwks: PathBuf,
    export: String,
}

impl Kept {
    async fn of(w: &World, ada: &Person<'_>, query: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let jwks = folder.path().join("jwks.json");
        std::fs::write(&jwks, w.get("/.well-known/jwks.json").reply().await.text).unwrap();
        let reply = ada.get(&format!("/v1/audit/export{query}")).reply().await;
        assert_eq!((reply.status, reply.headers["content-type"].as_str()), (200, "application/x-ndjson"));
        Self { folder, jwks, export: reply.text }
    }

    fn lines(&self) -> Vec<String> {
        self.export.lines().map(str::to_owned).collect()
    }

    /// The verdict over other lines, with a checkpoint or without.
    fn verify(&self, lines: &[String], head: Option<&str>) -> (Option<i32>, String) {
        let file = self.folder.path().join("export.jsonl");
        std::fs::write(&file, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        let output = self.run(&file, head);
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said.into_owned())
    }

    fn run(&self, file: &Path, head: Option<&str>) -> Output {
        let mut command = harness::talon();
        command.args(["audit", "verify"]).arg(file).arg("--jwks").arg(&self.jwks);
        if let Some(head) = head {
            command.args(["--head", head]);
        }
        command.output().unwrap()
    }
}

/// A line with a field changed.
fn with(line: &str, field: &str, value: Value) -> String {
    let mut line: Value = serde_json::from_str(line).unwrap();
    assert!(line.get(field).is_some());
    line[field] = value;
    line.to_string()
}

both! {
    async fn whatever_was_done_to_the_file_is_found(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        for n in 0..6 {
            vault.put(&format!("p/{n}"), "generic", "hunter2").await;
        }
        let kept = Kept::of(&w, &ada, "").await;
        assert!(!kept.export.contains("hunter2"));
        let lines = kept.lines();
        let head = ada.post("/v1/audit/checkpoints", &json!({})).expect(200, "").await.to_string();
        let events = lines.len() - 1;
        assert!(lines[events - 1].contains("audit.export"), "the export itself is on the trail");

        let (code, said) = kept.verify(&lines, Some(&head));
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(&format!("VALID: events 1 to {events}")), "{said}");
        let (code, said) = kept.verify(&lines, None);
        assert!(code == Some(0) && said.contains("the file's own"), "{said}");

        let keyless = harness::talon().args(["audit", "verify", "-"]).output().unwrap();
        assert!(keyless.status.code() == Some(2) && String::from_utf8_lossy(&keyless.stderr).contains("--jwks FILE"), "{keyless:?}");

        let found = |change: &dyn Fn(&mut Vec<String>), expected: &str| {
            let mut changed = lines.clone();
            change(&mut changed);
            let (code, said) = kept.verify(&changed, Some(&head));
            assert!(code == Some(1) && said.contains(expected), "{expected}: {code:?} {said}");
        };
        // A field that no event has, and one that each has.
        found(&|lines| lines[2] = lines[2].replacen('{', r#"{"note":"x","#, 1), "edited at event 3");
        found(&|lines| lines[2] = lines[2].replacen(r#""actor_type":"#, r#""actor_kind":"#, 1), "edited at event 3");
        for (field, value) in [
            ("action", json!("secret.list")), ("actor_id", json!("x")), ("actor_type", json!("agent")), ("details", json!("{}")),
            ("resource_id", json!("x")), ("resource_type", json!("x")), ("ip_address", json!("::1")), ("created_at_ms", json!(1)),
            ("id", json!("x")), ("prev_event_id", json!("x")), ("integrity_hash", json!("00".repeat(32))),
        ] {
            found(&|l| l[3] = with(&l[3], field, value.clone()), "NOT VALID: edited at event 4");
        }
        found(&|l| drop(l.remove(3)), "missing at event 4");
        found(&|l| l.swap(3, 4), "reordered at event 4");
        found(&|l| l.swap(2, 6), "reordered at event 3");
        found(&|l| l.insert(4, l[3].clone()), "inserted at event 4");
        found(&|l| drop(l.remove(events - 1)), &format!("cut_off at event {events}"));
        found(&|l| l.truncate(4), "cut_off at event 5");
        found(&|l| l.truncate(0), "cut_off at event 1");

        // Whoever has an earlier export passes it for the newest: its own checkpoint is genuine, the one that was kept knows.
        vault.put("later", "generic", "v").await;
        let newer = ada.post("/v1/audit/checkpoints", &json!({})).expect(200, "").await.to_string();
        assert_eq!(kept.verify(&lines, None).0, Some(0));
        let (code, said) = kept.verify(&lines, Some(&newer));
        assert!(code == Some(1) && said.contains("cut_off"), "{said}");

        // A whole chain written anew has the right hashes and no signature.
        let forged = with(&lines[events], "checkpoint", with_signature(&lines[events]));
        let mut changed = lines.clone();
        changed[events] = forged;
        let (code, said) = kept.verify(&changed, None);
        assert!(code == Some(1) && said.contains("checkpoint_mismatch"), "{said}");
        let mut beyond: Value = serde_json::from_str(&lines[events]).unwrap();
        beyond["checkpoint"]["sequence"] = json!(1_u64 << 63);
        changed[events] = beyond.to_string();
        let (code, said) = kept.verify(&changed, None);
        assert!(code == Some(1) && said.contains("checkpoint_mismatch"), "no number is beyond the signature: {said}");
        // What comes after the checkpoint that was kept is signed by nothing but the last line.
        let longer = Kept::of(&w, &ada, "").await;
        let mut changed = longer.lines();
        let end = changed.len() - 1;
        assert!(end > events && longer.verify(&changed, Some(&head)).0 == Some(0));
        changed[end] = r#"{"checkpoint":null}"#.into();
        let (code, said) = longer.verify(&changed, Some(&head));
        assert!(code == Some(2) && said.contains("NOT ALL SIGNED"), "{said}");
        changed.truncate(end);
        let (code, said) = longer.verify(&changed, Some(&head));
        assert!(code == Some(1) && said.contains("cut_off"), "{said}");
        let none = [json!({"after": {"sequence": events, "event_id": "x", "hash": beyond["checkpoint"]["hash"]}}).to_string(), lines[events].clone()];
        let (code, said) = kept.verify(&none, None);
        assert!(code == Some(2) && said.contains("NOT SIGNED"), "nothing is in it: {said}");
        let other = with(&head, "sequence", json!(3));
        let (code, said) = kept.verify(&lines, Some(&other));
        assert!(code == Some(2) && said.contains("not signed by this key"), "{said}");
    }
}

/// The last line's checkpoint, with another's signature.
fn with_signature(line: &str) -> Value {
    let mut end: Value = serde_json::from_str(line).unwrap();
    let signature = end["checkpoint"]["signature"].as_str().unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let signature = format!("{flipped}{}", &signature[1..]);
    end["checkpoint"]["signature"] = signature.into();
    end["checkpoint"].take()
}

both! {
    async fn a_part_is_verified_and_what_is_not_covered_is_said(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("a", "generic", "v").await;
        // Two hours ago: a time is a place in the chain but for an hour.
        let org = ada.get("/v1/audit/events?limit=1").expect(200, "").await["events"][0]["org_id"].as_str().unwrap().to_owned();
        let last = ada.get("/v1/audit/events?limit=1").expect(200, "").await["events"][0]["sequence"].as_i64().unwrap();
        let from = "2099-01-01T00:00:00Z";
        let empty = Kept::of(&w, &ada, &format!("?from={from}")).await;
        assert!(empty.lines()[0].starts_with(r#"{"after""#), "{}", empty.export);
        let whole = Kept::of(&w, &ada, "?to=2099-01-01T00:00:00Z").await;
        assert!(whole.lines().len() as i64 > last);

        // From the middle: the lines before are replaced by where they end.
        let mut lines = whole.lines();
        let before: Value = serde_json::from_str(&lines[1]).unwrap();
        assert_eq!(before["org_id"], org);
        lines.drain(..2);
        lines.insert(0, json!({"after": {"sequence": 2, "event_id": before["id"], "hash": before["integrity_hash"]}}).to_string());
        let (code, said) = whole.verify(&lines, None);
        assert!(code == Some(0) && said.contains("Not covered: events 1 to 2"), "{said}");
        let wrong = json!({"after": {"sequence": 2, "event_id": before["id"], "hash": "00".repeat(32)}}).to_string();
        lines[0] = wrong;
        assert_eq!(whole.verify(&lines, None).0, Some(1));

        // Without a checkpoint nothing is vouched for; what is no export is not taken for one.
        let mut lines = whole.lines();
        let end = lines.len() - 1;
        lines[end] = r#"{"checkpoint":null}"#.into();
        let (code, said) = whole.verify(&lines, None);
        assert!(code == Some(2) && said.contains("NOT SIGNED"), "{said}");
        let (code, said) = whole.verify(&["hunter2".to_owned()], None);
        assert!(code == Some(2) && said.contains("line 1") && !said.contains("hunter2"), "{said}");
        let missing = whole.run(Path::new("/nowhere/at/all"), None);
        assert_eq!(missing.status.code(), Some(2));
    }
}

both! {
    async fn a_trail_of_many_pieces_is_exported_whole_and_once_at_a_time(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("a", "generic", "v").await;
        let path = vault.path("a");
        for _ in 0..24 {
            let reads = futures::future::join_all((0..50).map(|_| ada.get(&path).reply())).await;
            assert!(reads.iter().all(|read| read.status == 200));
        }
        let kept = Kept::of(&w, &ada, "").await;
        assert!(kept.lines().len() > 1200);
        let (code, said) = kept.verify(&kept.lines(), None);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(ada.get("/v1/audit/verify").expect(200, "").await["valid"], true);
        // HEAD would be an export that nobody reads.
        assert_eq!(ada.call(reqwest::Method::HEAD, "/v1/audit/export").reply().await.status, 405);
    }
}

/// `talon audit export FILE …` as this token's holder; how it ended, and what it said.
async fn exported(token: &str, words: &[&str]) -> (Option<i32>, String, String) {
    let mut command = harness::talon();
    command.args(["audit", "export"]).args(words).env("TALON_TOKEN", token).current_dir(std::env::temp_dir());
    let output = tokio::task::block_in_place(|| command.output().unwrap());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(token.is_empty() || !format!("{out}{err}").contains(token), "the token is shown: {err}");
    (output.status.code(), out, err)
}

both! {
    async fn the_shell_exports_what_it_verifies(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        // More than one piece of the answer.
        for n in 0..40 {
            vault.put(&format!("p/{n}"), "generic", "hunter2").await;
        }
        let kept = Kept::of(&w, &ada, "").await;
        let file = kept.folder.path().join("trail.jsonl");
        let place = file.display().to_string();
        let to = ["--url", w.base.as_str()];
        let words = |name: &'_ str| [name.to_owned(), to[0].to_owned(), to[1].to_owned()];
        let run = async |token: &str, name: &str, more: &[&str]| {
            let all = words(name);
            let all: Vec<&str> = all.iter().map(String::as_str).chain(more.iter().copied()).collect();
            exported(token, &all).await
        };
        let (code, out, err) = run(&ada.token, &place, &[]).await;
        assert!(code == Some(0) && out.is_empty() && err.lines().count() == 1, "{code:?} {out} {err}");
        let lines: Vec<Value> =
            std::fs::read_to_string(&file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (end, events) = lines.split_last().unwrap();
        let head = end["checkpoint"]["hash"].as_str().unwrap();
        assert!(err.starts_with(&format!("{place}: {} events, signed up to event ", events.len())), "{err}");
        assert!(err.ends_with(&format!(": {head}.\n")), "{err}");
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions()) & 0o777, 0o600);
        let verified = kept.run(&file, None);
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
        let before = std::fs::read(&file).unwrap();
        let (code, _, err) = run(&ada.token, &place, &[]).await;
        assert!(code == Some(2) && err.contains("exists"), "{err}");
        assert_eq!(std::fs::read(&file).unwrap(), before);

        let (code, out, _) = run(&ada.token, "-", &["--from", "2099-01-01T00:00:00Z"]).await;
        assert!(code == Some(0) && out.lines().count() < 60 && out.ends_with("}\n"), "{out}");
        let other = kept.folder.path().join("other").display().to_string();
        let bot = ada.agent("bot").make().await;
        for (token, words, expected, why) in [
            (ada.token.as_str(), ["--from", "yesterday"], 1, "from"),
            (&bot.token, ["--to", "2099-01-01T00:00:00Z"], 1, "Agents may not"),
            ("x.y.z", ["--to", "2099-01-01T00:00:00Z"], 1, "token"),
            ("", ["--to", "2099-01-01T00:00:00Z"], 2, "owner's or admin's token: set TALON_TOKEN"),
        ] {
            let (code, out, err) = run(token, &other, &words).await;
            assert!(code == Some(expected) && out.is_empty() && err.contains(why), "{code:?} {err}");
        }
        assert!(!Path::new(&other).exists());
        let left: Vec<_> = std::fs::read_dir(kept.folder.path()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left.len(), 2, "nothing half is left: {left:?}");
    }
}

/// What breaks off, wherever, is no export.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_breaks_off_leaves_no_file() {
    use std::io::{Read as _, Write as _};
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trail.jsonl").display().to_string();
    for answer in ["Transfer-Encoding: chunked\r\n\r\n4\r\n{}\n\n\r\n", "Content-Length: 3\r\n\r\n{}\n"] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serves = std::thread::spawn(move || {
            let mut peer = listener.accept().unwrap().0;
            let _asked = peer.read(&mut [0; 4096]).unwrap();
            peer.write_all(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes()).unwrap();
        });
        let (code, _, err) = exported("token", &[&file, "--url", &url]).await;
        assert!(code == Some(3), "{code:?} {err}");
        serves.join().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
    let (code, _, err) = exported("token", &[&file, "--url", "http://127.0.0.1:1"]).await;
    assert!(code == Some(3) && err.contains("does not answer"), "{code:?} {err}");
}
