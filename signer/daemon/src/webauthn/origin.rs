//! Where passkeys are made and used: one web origin, whose host is the relying party's id.

/// `https://HOST[:PORT]`, as browsers write it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    text: String,
    host: std::ops::Range<usize>,
}

impl Origin {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn rp_id(&self) -> &str {
        self.text.get(self.host.clone()).unwrap_or_default()
    }
}

impl std::str::FromStr for Origin {
    type Err = &'static str;

    /// Of a URL without a path. Browsers give passkeys to names alone, and over plain HTTP to `localhost`.
    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let lower = url.strip_suffix('/').unwrap_or(url).to_ascii_lowercase();
        let (scheme, rest) = lower.split_once("://").ok_or("must be https://HOST[:PORT]")?;
        let (host, port) = rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)));
        if !is_name(host) {
            return Err(
                "must have a name for a host, not an address: browsers make passkeys for names alone",
            );
        }
        let standard = match scheme {
            "https" => 443,
            "http" if host == "localhost" || host.ends_with(".localhost") => 80,
            "http" => return Err("must be https, but for localhost"),
            _ => return Err("must be https://HOST[:PORT]"),
        };
        let port = port.map(|port| port.parse::<u16>().map_err(|_| "must have a number for a port"));
        let text = match port.transpose()? {
            Some(port) if port != standard => format!("{scheme}://{host}:{port}"),
            _ => format!("{scheme}://{host}"),
        };
        let start = scheme.len() + "://".len();
        Ok(Self { text, host: start..start + host.len() })
    }
}

/// Labels of letters, digits and dashes; the last one is no number, as it is in an address.
fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.len() <= 253
        && host.split('.').all(label)
        && host.rsplit('.').next().is_some_and(|last| !last.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::Origin;

    #[test]
    fn origins_are_as_browsers_write_them() {
        for (given, text, rp) in [
            ("https://talon.example", "https://talon.example", "talon.example"),
            ("https://Talon.Example/", "https://talon.example", "talon.example"),
            ("https://talon.example:443", "https://talon.example", "talon.example"),
            ("https://talon.example:8443", "https://talon.example:8443", "talon.example"),
            ("http://localhost:8443", "http://localhost:8443", "localhost"),
        ] {
            let origin: Origin = given.parse().unwrap();
            assert_eq!((origin.as_str(), origin.rp_id()), (text, rp), "{given}");
        }
        for bad in [
            "",
            "talon.example",
            "ftp://talon.example",
            "http://talon.example",
            "https://127.0.0.1:8443",
            "http://127.0.0.1",
            "https://[::1]",
            "https://talon.example/path",
            "https://user@talon.example",
            "https://talon..example",
            "https://-talon.example",
            "https://talon.example:",
            "https://talon.example:66000",
            "https://talon.example?q",
        ] {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
    }
}
