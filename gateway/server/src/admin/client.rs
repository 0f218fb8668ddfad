//! The way to a gateway, with a person's token.

use std::time::Duration;

use domain::SecretText;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Url};
use serde_json::Value;
use tokio::time::timeout;

use super::{Failure, To, secret_file};
use crate::config::{client_url, environment};
use crate::settings::TOKEN;

/// The gateway itself answers within 30 seconds.
const PATIENCE: Duration = Duration::from_secs(35);
/// Of an answer that comes piece by piece.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

pub struct Client {
    http: reqwest::Client,
    base: Url,
}

impl Client {
    /// `whose`: the token that it takes, in words.
    ///
    /// # Errors
    /// `Usage`: what was given can't be used.
    pub fn new(to: &To, whose: &str) -> Result<Self, Failure> {
        let environment = environment();
        let base = match &to.url {
            Some(url) => url.clone(),
            None => client_url(to.config.clone(), &environment).map_err(|e| Failure::Usage(e.to_string()))?,
        };
        let base = address(&base)?;
        let token = match &to.token_file {
            Some(file) => secret_file("the token file", file)?,
            None => {
                let set = environment.into_iter().find(|(name, _)| name == TOKEN);
                SecretText::from(set.map(|(_, token)| token.trim().to_owned()).unwrap_or_default())
            }
        };
        Ok(Self { http: http(to, &base, &token, whose)?, base })
    }

    /// What the gateway answers to an operator; null where it answers nothing.
    pub async fn ask(&self, method: Method, path: &[&str], body: Option<&Value>) -> Result<Value, Failure> {
        let url = self.at(&[&["admin"], path].concat())?;
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.answer(request.send().await.map_err(|error| self.away(&error))?).await
    }

    /// An answer of any length, in pieces as they come. It may take as long as there is something coming.
    pub async fn download(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut url = self.at(path)?;
        url.query_pairs_mut().extend_pairs(query);
        let silent = |_| Failure::Away(format!("{} says nothing for {PATIENCE:?}", self.base));
        let asked = timeout(PATIENCE, self.http.get(url).timeout(LONGEST).send()).await.map_err(silent)?;
        let mut response = asked.map_err(|error| self.away(&error))?;
        if !response.status().is_success() {
            return self.answer(response).await.map(drop);
        }
        while let Some(piece) =
            timeout(PATIENCE, response.chunk()).await.map_err(silent)?.map_err(|error| self.away(&error))?
        {
            take(&piece)?;
        }
        Ok(())
    }

    fn at(&self, path: &[&str]) -> Result<Url, Failure> {
        let mut url = self.base.clone();
        let unusable = |()| Failure::Usage("the gateway's address can't be used".into());
        url.path_segments_mut().map_err(unusable)?.pop_if_empty().push("v1").extend(path);
        Ok(url)
    }

    fn away(&self, error: &reqwest::Error) -> Failure {
        Failure::Away(format!("{} does not answer: {}", self.base, cause(error)))
    }

    async fn answer(&self, response: reqwest::Response) -> Result<Value, Failure> {
        let status = response.status();
        let text = response.text().await.map_err(|error| self.away(&error))?;
        if status.is_success() && text.is_empty() {
            return Ok(Value::Null);
        }
        let odd = || Failure::Away(format!("{} answers {status}, and not as a Talon does", self.base));
        let answer: Value = serde_json::from_str(&text).map_err(|_| odd())?;
        match answer["detail"].as_str() {
            _ if status.is_success() => Ok(answer),
            Some(detail) if status.is_client_error() => Err(Failure::Refused(detail.to_owned())),
            Some(detail) => Err(Failure::Away(detail.to_owned())),
            None => Err(odd()),
        }
    }
}

/// Over plain HTTP a token goes to this machine alone.
fn address(text: &str) -> Result<Url, Failure> {
    let wrong = || Failure::Usage("--url must be an http:// or https:// address, and nothing more".into());
    let url = Url::parse(text).map_err(|_| wrong())?;
    // A user in it would be sent instead of the token.
    if !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err(wrong());
    }
    match (url.scheme(), url.host_str()) {
        ("https", Some(_)) => Ok(url),
        ("http", Some(host)) if is_here(host) => Ok(url),
        ("http", Some(host)) => Err(Failure::Usage(format!(
            "http://{host} would carry the token in the clear: give the gateway's https:// address with --url"
        ))),
        _ => Err(wrong()),
    }
}

fn is_here(host: &str) -> bool {
    let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

/// No redirects and no proxy from the environment: the token goes to the address that was given.
fn http(to: &To, base: &Url, token: &SecretText, whose: &str) -> Result<reqwest::Client, Failure> {
    if token.expose().is_empty() {
        return Err(Failure::Usage(format!(
            "this needs {whose} token: set {TOKEN}, or name a file with --token-file"
        )));
    }
    let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
        .map_err(|_| Failure::Usage("the token must be one line of ASCII".into()))?;
    bearer.set_sensitive(true);
    let _another_may_be_installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .timeout(PATIENCE)
        .redirect(Policy::none())
        .no_proxy()
        .user_agent(concat!("talon-admin/", env!("CARGO_PKG_VERSION")))
        .default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]));
    if let Some(file) = &to.ca {
        let wrong = |why: String| Failure::Usage(format!("--ca {} can't be used: {why}", file.display()));
        let pem = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
        let certificates = Certificate::from_pem_bundle(&pem).map_err(|_| wrong("it is no PEM".into()))?;
        if certificates.is_empty() {
            return Err(wrong("no certificate is in it".into()));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    if base.scheme() == "http" {
        // A machine without root certificates has nothing to trust, and needs nothing.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| Failure::Usage(format!("no HTTPS is to be had: {}", cause(&error))))
}

/// The innermost reason: what surrounds it repeats the address.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let why = innermost.to_string();
    // What `openssl req -x509` makes by itself. Others take it; rustls takes no authority's certificate for a server's.
    if why.contains("CaUsedAsEndEntity") {
        return format!(
            "its certificate is an authority's, and no server's own: make it with `-addext \
             basicConstraints=critical,CA:FALSE` ({why})"
        );
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_over_plain_http_to_this_machine_alone() {
        for good in
            ["http://127.0.0.1:8443", "http://localhost", "http://[::1]:1", "https://vault.example.org/"]
        {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in [
            "http://10.0.0.1",
            "http://vault.example.org",
            "http://localhost.example.org",
            "http://0.0.0.0:1",
        ] {
            assert!(address(bad).unwrap_err().to_string().contains("in the clear"), "{bad}");
        }
        for bad in [
            "",
            "vault",
            "ftp://127.0.0.1",
            "unix:/x",
            "https://u@a.example",
            "https://:p@a.example",
            "https://a.example?q",
        ] {
            assert!(address(bad).unwrap_err().to_string().contains("--url must be"), "{bad}");
        }
    }
}
