//! Lists of secrets: pages that are full, whole and in order, also of very many.

use std::collections::BTreeSet;
use std::time::Instant;

use harness::{Person, Value, Vault, World, both, json};

const MANY: usize = 10_000;

/// Rows as a PUT writes them; a list opens nothing.
async fn fill(w: &World, vault: &Vault<'_>) {
    let numbers = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})");
    let id = "'01890000-0000-7000-8000-' || substr(CAST(100000000000 + i AS TEXT), 1, 12)";
    // Cases and signs that a locale would sort in another way than bytes.
    let path = "CASE WHEN i % 3 = 0 THEN 'team/B-' WHEN i % 3 = 1 THEN 'team/a_' ELSE 'other/' END || CAST(i AS TEXT)";
    let text = "INSERT INTO secrets (id, vault_id, path, newest, live)";
    w.sql(&format!("{text} {numbers} SELECT {id}, '{}', {path}, 1, 1 FROM n", vault.id)).await;
    let text = "INSERT INTO secret_versions (secret_id, version, type, access_count, created_by_type, created_by, created_at)";
    let user = vault.owner.id().await;
    w.sql(&format!("{text} {numbers} SELECT {id}, 1, 'generic', 0, 'user', '{user}', 0 FROM n")).await;
}

/// Page by page; the paths in the order in which they came, and the longest time that a page took.
async fn pages(ada: &Person<'_>, url: &str, limit: usize) -> Vec<String> {
    let (mut all, mut cursor, mut longest) = (Vec::new(), String::new(), 0);
    loop {
        let begun = Instant::now();
        let page = ada.get(&format!("{url}limit={limit}{cursor}")).expect(200, "secrets").await;
        longest = longest.max(begun.elapsed().as_millis());
        let secrets = page["secrets"].as_array().unwrap();
        all.extend(secrets.iter().map(|s| s["path"].as_str().unwrap().to_owned()));
        match &page["next_cursor"] {
            Value::String(next) => {
                assert_eq!(secrets.len(), limit, "a page that is not the last is full");
                cursor = format!("&cursor={next}");
            }
            _ => break,
        }
    }
    eprintln!("{url}: {} in pages of {limit}, a page at most {longest} ms", all.len());
    all
}

both! {
    async fn of_ten_thousand_each_comes_once_and_in_order(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        fill(&w, &vault).await;
        let list = format!("/v1/vaults/{}/secrets?", vault.id);
        let all = pages(&ada, &list, 1000).await;
        assert_eq!(all.len(), MANY);
        assert!(all.is_sorted(), "in the order of bytes");
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), MANY);
        let team = pages(&ada, &format!("{list}prefix=team/&"), 700).await;
        assert_eq!(team, all.iter().filter(|p| p.starts_with("team/")).cloned().collect::<Vec<_>>());
        // Who asks for no page gets everything.
        let begun = Instant::now();
        let whole = ada.get(list.trim_end_matches('?')).expect(200, "team/B-3").await;
        eprintln!("all at once: {} ms", begun.elapsed().as_millis());
        assert_eq!(whole["secrets"].as_array().unwrap().len(), MANY);
        assert_eq!(whole.get("next_cursor"), None);
        // Pages are full of what may be read, wherever it is.
        let bot = ada.agent("bot").reads(&vault, "*/9999").reads(&vault, "team/B-99").reads(&vault, "other/5").make().await;
        vault.allow(&bot.id, "team/a_1", &["read"]).await;
        let first = bot.get(&format!("{list}limit=2")).expect(200, "next_cursor").await;
        let paths = |page: &Value| page["secrets"].as_array().unwrap().iter().map(|s| s["path"].clone()).collect::<Vec<_>>();
        assert_eq!(paths(&first), ["other/5", "team/B-99"]);
        let second = bot.get(&format!("{list}limit=2&cursor=team/B-99")).expect(200, "").await;
        assert_eq!((paths(&second), second.get("next_cursor")), (vec![json!("team/a_1")], None));
        // Others write and delete meanwhile: what was there all the time comes once.
        let others = format!("{list}prefix=other/&");
        let (seen, ()) = tokio::join!(pages(&ada, &others, 100), async {
            for n in 0..20 {
                vault.put(&format!("other/0-new-{n}"), "generic", "v").await;
                ada.delete(&vault.path(&format!("other/{}", 2 + 3 * (n + 1000)))).expect(204, "").await;
            }
        });
        let gone: BTreeSet<String> = (0..20).map(|n| format!("other/{}", 2 + 3 * (n + 1000))).collect();
        let stayed: BTreeSet<&String> = all.iter().filter(|p| p.starts_with("other/") && !gone.contains(*p)).collect();
        let found: Vec<&String> = seen.iter().filter(|p| stayed.contains(p)).collect();
        assert_eq!((found.len(), found.iter().collect::<BTreeSet<_>>().len()), (stayed.len(), stayed.len()));
    }
}

both! {
    async fn parts_and_pages_are_checked(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        for path in ["a", "a-b", "a/b", "a/c", "aa", "b"] {
            vault.put(path, "generic", "v").await;
        }
        let list = format!("/v1/vaults/{}/secrets", vault.id);
        let paths = async |query: &str| {
            let page = ada.get(&format!("{list}{query}")).expect(200, "secrets").await;
            let paths = page["secrets"].as_array().unwrap().iter().map(|s| s["path"].as_str().unwrap().to_owned());
            paths.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(paths("").await, "a a-b a/b a/c aa b");
        assert_eq!(paths("?prefix=a").await, "a a-b a/b a/c aa");
        assert_eq!(paths("?prefix=a/").await, "a/b a/c");
        assert_eq!(paths("?cursor=a").await, "a-b a/b a/c aa b");
        assert_eq!(paths("?cursor=a/b&prefix=a/").await, "a/c");
        assert_eq!(paths("?cursor=b&prefix=a").await, "");
        assert_eq!(paths("?prefix=c").await, "");
        for odd in ["a%25", "%27", "a.b", "%C3%A4", "~"] {
            assert_eq!(paths(&format!("?prefix={odd}")).await, "", "{odd}");
        }
        for (query, named) in [("prefix=%00", "NUL"), ("limit=0", "limit"), ("limit=1001", "limit"), ("limit=x", "limit"), ("cursor=a//b", "cursor"), ("deleted=maybe", "deleted")] {
            ada.get(&format!("{list}?{query}")).expect(400, named).await;
        }
    }
}
