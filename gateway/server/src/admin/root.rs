//! `talon admin root`

use http::Method;
use serde_json::Value;

use super::client::Client;
use super::{Failure, Shown};

pub async fn show(client: &Client) -> Result<Shown, Failure> {
    let json = client.ask(Method::GET, &["root"], None).await?;
    Ok(Shown { text: sentence(&json), json })
}

fn sentence(root: &Value) -> String {
    let (number, older) = (&root["root"], &root["older"]);
    if older.is_null() {
        return format!("Root {number} wraps. No rotation is under way.\n");
    }
    let Some(at) = root["finished_at"].as_str() else {
        return format!(
            "Root {number} wraps. What root {older} wraps is being wrapped anew: ask again in a minute.\n"
        );
    };
    let wrapped = &root["wrapped"];
    format!(
        "Root {number} wraps. Nothing is left under root {older}, since {at}: {} keys of vaults, {} keys that sign, {} second \
         factors, {} keys of webhooks. Take a backup, stop Talon, and run retire-root.\n",
        wrapped["vault_keys"], wrapped["signing_keys"], wrapped["second_factors"], wrapped["webhook_keys"]
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_says_when_the_older_root_can_go() {
        assert!(sentence(&json!({"root": 1})).contains("No rotation"));
        assert!(sentence(&json!({"root": 2, "older": 1})).contains("being wrapped anew"));
        let wrapped = json!({"vault_keys": 3, "signing_keys": 2, "second_factors": 1, "webhook_keys": 0});
        let done = json!({"root": 2, "older": 1, "finished_at": "2030-01-01T00:00:00Z", "wrapped": wrapped});
        assert!(
            sentence(&done)
                .contains("Nothing is left under root 1, since 2030-01-01T00:00:00Z: 3 keys of vaults")
        );
    }
}
