//! An env_bundle's variables, taken apart.

use std::collections::BTreeMap;

use domain::{Error, Kind, OrMissing as _, Result, Revealed, SecretBytes, SecretText, SecretType};
use http::Method;
use store::secrets;

use super::{open, readable, record};
use crate::access::{Granted, MayRead, OnValue};
use crate::cx::Cx;
use crate::operation::{Operation, Reply, Route};
use crate::ops::OfSecret;
use crate::tool::{Effect, Tool, arg};

/// Names and values.
type Variables = BTreeMap<String, Revealed>;

/// Reads an env_bundle as an object of its variables.
pub struct GetEnvBundle;

impl Operation for GetEnvBundle {
    const ROUTE: Route = Route::new(
        "getEnvBundle",
        Method::GET,
        "/v1/vaults/{vault_id}/env/{path}",
        200,
        "Reads an env_bundle as an object: a member for each line KEY=VALUE, the value as it is written; blank lines and \
         those that begin with # are skipped. Audited and counted as a read of the secret.",
    )
    .audited("secret.read", "secret")
    .tool(
        Tool::new(
            "get_env_bundle",
            Effect::Reveals,
            "Reads a secret of type env_bundle as an object of its environment variables; use it instead of get_secret for \
             that type. It counts as a read. Pass the variables on to the process that needs them and don't repeat them. \
             Errors as for get_secret; if it is not an env_bundle, use get_secret.",
        )
        .takes(&[arg("path").about("As list_secrets gives it.")]),
    );
    type Path = OfSecret;
    type Params = ();
    type Output = Variables;
    type Access = OnValue;

    async fn run(cx: &Cx, granted: Granted<MayRead>, _: OfSecret, (): ()) -> Result<Reply<Variables>> {
        let found = secrets::reveal(cx.store(), &granted.may).await?.or_missing("secret")?;
        let found = readable(cx, &granted.may, found)?;
        if found.version.kind != SecretType::EnvBundle {
            return Err(Error::new(
                Kind::Unprocessable,
                format!(
                    "This secret is of type {}, not env_bundle; read it as it is.",
                    found.version.kind.as_str()
                ),
            ));
        }
        if found.version.cmek.is_some() {
            return Err(Error::conflict(
                "This env_bundle is encrypted with the customer's key (CMEK): read it as it is, and take it apart after \
                 decrypting it.",
            ));
        }
        let value = open(cx, &granted, &found.version, found.sealed).await?;
        // Also what can't be taken apart was looked into.
        record(cx, &granted, &found.version).await?;
        Ok(Reply::of(parse(&value)?))
    }
}

/// # Errors
/// `Unprocessable`, naming the line and never what is in it.
fn parse(bundle: &SecretBytes) -> Result<Variables> {
    let text =
        std::str::from_utf8(bundle.expose()).map_err(|_| Error::internal("an opened value is not UTF-8"))?;
    let mut variables = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let named = line.split_once('=').map(|(name, value)| (name.trim(), value.trim()));
        let Some((name, value)) = named.filter(|(name, _)| !name.is_empty()) else {
            return Err(Error::new(
                Kind::Unprocessable,
                format!("Line {} of this env_bundle is not KEY=VALUE; read it as it is.", number + 1),
            ));
        };
        variables.insert(name.to_owned(), Revealed::new(&SecretText::from(value.to_owned())));
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<serde_json::Value> {
        parse(&SecretBytes::from(text.as_bytes().to_vec())).map(|v| serde_json::to_value(v).unwrap())
    }

    #[test]
    fn lines_become_members_and_comments_do_not() {
        let bundle = "# production\n\nA=1\r\n  B = two words \nC=x=y#z\n #D=4\nE=\nA=2\n";
        let expected = serde_json::json!({"A": "2", "B": "two words", "C": "x=y#z", "E": ""});
        assert_eq!(parsed(bundle).unwrap(), expected);
        assert_eq!(parsed("").unwrap(), serde_json::json!({}));
    }

    #[test]
    fn errors_name_the_line_and_never_what_is_in_it() {
        for bundle in ["A=1\n\nhunter2", "A=1\n#\n=hunter2"] {
            let error = parsed(bundle).unwrap_err();
            assert!(error.detail().contains("Line 3"), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
