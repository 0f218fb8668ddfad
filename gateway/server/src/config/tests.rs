use super::*;

fn load(environment: &[(&str, &str)], file: &str) -> Result<Config, StartError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("talon.toml");
    std::fs::write(&path, file).unwrap();
    let environment: Vec<_> = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Config::load(&Flags { config: Some(path), ..Flags::default() }, &environment)
}

#[test]
fn the_environment_is_over_the_file() {
    let file = "listen = \"127.0.0.1:1\"\n[rpc]\nbase-sepolia = \"http://file\"\nlocal = \"http://file\"";
    let environment =
        [("TALON_LISTEN", "127.0.0.1:2"), ("TALON_RPC_BASE_SEPOLIA", "http://env"), ("TALON_DATA", "")];
    let config = load(&environment, file).unwrap();
    assert_eq!(config.listen.port(), 2);
    assert_eq!(config.rpc["base-sepolia"].expose(), "http://env");
    assert_eq!(config.rpc["local"].expose(), "http://file");
    assert_eq!(config.data, Path::new("talon-data"), "an empty variable is not set");
}

#[test]
fn flags_are_over_the_environment() {
    let command = <Flags as clap::Args>::augment_args(clap::Command::new("serve"));
    let matches = command.get_matches_from(["serve", "--listen", "127.0.0.1:3", "--behind-tls-proxy"]);
    let flags = <Flags as clap::FromArgMatches>::from_arg_matches(&matches).unwrap();
    let config = Config::load(&flags, &[("TALON_LISTEN".into(), "127.0.0.1:2".into())]).unwrap();
    assert_eq!(config.listen.port(), 3);
}

#[test]
fn what_is_not_understood_is_named_and_never_shown() {
    let long = "operator_password = 2222222\noperator_email = \"a@b.c\"\ntls_cert = [[]]";
    for (environment, file, named) in [
        (&[("TALON_LISTN", "hunter2")][..], "", "TALON_LISTN is not a setting; the nearest is TALON_LISTEN"),
        (&[], "listn = \"hunter2\"", "listn is not a setting; the nearest is listen"),
        (&[("TALON_OPERATOR_EMAIL", "a@b.c")], "", "operator_password is missing"),
        (&[("TALON_OPERATOR_PASSWORD", "hunter2")], "", "operator_email is missing"),
        (&[("TALON_LISTEN", "0.0.0.0:80")], "", "without TLS"),
        (&[("TALON_LISTEN", "hunter2")], "", "listen (TALON_LISTEN) must be ADDRESS:PORT"),
        (&[("TALON_TLS_CERT", "x")], "", "tls_key is missing"),
        (
            &[("TALON_SIGNER", "tcp:hunter2")],
            "",
            "signer (TALON_SIGNER) must be spawn, unix:PATH or tls:HOST:PORT",
        ),
        (&[("TALON_SIGNER", "tls:hunter2")], "", "tls:HOST:PORT"),
        (&[("TALON_SIGNER", "tls:a:1"), ("TALON_SIGNER_CA", "x")], "", "signer_cert is missing"),
        (&[("TALON_SIGNER_KEY", "hunter2")], "", "for signer = tls:HOST:PORT alone"),
        (&[("TALON_DATABASE_URL", "mysql://hunter2")], "", "database_url"),
        (&[("TALON_PUBLIC_URL", "https://a/b?hunter2")], "", "public_url"),
        (&[("TALON_TRUSTED_PROXIES", "10.0.0.0/8,hunter2")], "", "trusted_proxies"),
        (&[("TALON_BEHIND_TLS_PROXY", "yes")], "", "true or false"),
        (&[("TALON_SMTP_URL", "https://hunter2")], "", "smtp_url"),
        (&[("TALON_SMTP_URL", "smtps://a:hunter2@b")], "", "mail_from is missing"),
        (&[("TALON_MAIL_FROM", "hunter2")], "", "mail_from (TALON_MAIL_FROM) must be NAME <ADDRESS>"),
        (&[("TALON_EGRESS_ALLOW", "hunter2")], "", "egress_allow"),
        (&[("TALON_CLIENT_CERT_HEADER", "hunter 2")], "", "client_cert_header"),
        (&[("TALON_CLIENT_CERT_HEADER", "X-Cert")], "", "trusted_proxies is missing"),
        (&[("TALON_GOOGLE_JWKS", "hunter2")], "", "google_jwks"),
        (&[("TALON_GOOGLE_ISSUER", "https://x")], "", "google_client_id, which is missing"),
        (&[("TALON_TENDERLY_KEY", "hunter2-hunter2")], "", "one of them is missing"),
        (&[("TALON_TENDERLY_URL", "https://tenderly.example")], "", "one of them is missing"),
        (&[("TALON_TENDERLY_ACCOUNT", "hunter2/../x")], "", "tenderly_account"),
        (&[("TALON_TENDERLY_KEY", "hunter2\n")], "", "tenderly_key"),
        (&[("TALON_KEYSTORE", "hunter2")], "", "software or pkcs11"),
        (
            &[("TALON_PKCS11_SESSIONS", "65")],
            "",
            "pkcs11_sessions (TALON_PKCS11_SESSIONS) must be NUMBER, 1 to 64",
        ),
        (
            &[("TALON_LIMIT_ADDRESS", "hunter2")],
            "",
            "limit_address (TALON_LIMIT_ADDRESS) must be NUMBER/s or NUMBER/m",
        ),
        (&[("TALON_LIMIT_TOTAL", "2222222/s")], "", "limit_total"),
        (&[("TALON_LOGIN_TRIES_ADDRESS", "0")], "", "login_tries_address"),
        (&[("TALON_LOGIN_PLACES_ADDRESS", "129")], "", "login_places_address"),
        (&[("TALON_SIGNER_MAX_FEE", "hunter2")], "", "signer_max_fee"),
        (&[("TALON_SIGNER_ALLOW_PORT", "80,hunter2")], "", "signer_allow_port"),
        (&[("TALON_SIGNER_ORIGIN", "https://127.0.0.1")], "", "signer_origin"),
        (&[], "\n\noperator_password = hunter2", "talon.toml: line 3"),
        (&[], long, "tls_cert has a value of the wrong kind"),
        (&[], "[rpc]\nlocal = 2222222.0", "rpc.local"),
    ] {
        let error = load(environment, file).err().unwrap().to_string();
        assert!(error.contains(named), "{error}");
        assert!(!error.contains("hunter2") && !error.contains("2222222"), "{error}");
    }
}

#[test]
fn proxies_are_addresses_or_networks() {
    let config = load(&[], "trusted_proxies = [\"10.0.0.0/8\", \"::1\"]").unwrap();
    assert_eq!(config.trusted_proxies, ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
}

#[test]
fn google_is_google_unless_somebody_else_is_named() {
    assert!(load(&[], "").unwrap().google.is_none());
    let config = load(&[("TALON_GOOGLE_CLIENT_ID", "x.apps.googleusercontent.com")], "").unwrap();
    let google = config.google.unwrap();
    assert_eq!(google.issuer, "https://accounts.google.com");
    assert_eq!(google.jwks, "https://www.googleapis.com/oauth2/v3/certs");
}

#[test]
fn tenderlys_key_goes_nowhere_in_the_clear() {
    let of = |url: &str| {
        let settings =
            [("ACCOUNT", "acme"), ("PROJECT", "vault-1"), ("KEY", "a-key-of-tenderly"), ("URL", url)];
        let names = settings.map(|(name, value)| (format!("TALON_TENDERLY_{name}"), value));
        let given: Vec<_> = names.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        load(&given, "").map(|config| config.tenderly.unwrap().url)
    };
    for good in ["https://tenderly.example", "http://127.0.0.1:1234", "http://localhost", "http://[::1]:8"] {
        assert_eq!(of(good).unwrap(), good);
    }
    assert_eq!(of("https://tenderly.example/").unwrap(), "https://tenderly.example");
    for bad in [
        "http://tenderly.example",
        "http://127.0.0.1.example",
        "http://10.0.0.1",
        "tenderly.example",
        "https://",
        "https://u@x",
        "http://localhost@x",
    ] {
        assert!(of(bad).unwrap_err().to_string().contains("tenderly_url"), "{bad}");
    }
    let rest = [
        ("TALON_TENDERLY_ACCOUNT", "acme"),
        ("TALON_TENDERLY_PROJECT", "p"),
        ("TALON_TENDERLY_KEY", "a-key-of-tenderly"),
    ];
    assert_eq!(load(&rest, "").unwrap().tenderly.unwrap().url, "https://api.tenderly.co");
    assert!(load(&[], "").unwrap().tenderly.is_none());
}

#[test]
fn the_documented_defaults_are_the_defaults() {
    let (documented, default) =
        (load(&[], include_str!("../../../config.default.toml")).unwrap(), load(&[], "").unwrap());
    let shown = |c: Config| {
        let rest = (c.database_url.is_none(), c.operator.is_none(), c.tls, c.trusted_proxies, c.rpc.len());
        (c.listen, c.data, c.public_url, c.signer, c.log, format!("{:?}", c.limits), rest)
    };
    assert_eq!(shown(documented), shown(default));
}

/// Browsers make passkeys for names, over https: an address is no site for them.
#[test]
fn the_signer_is_told_where_passkeys_are_used() {
    let told = |environment: &[(&str, &str)]| {
        let told = load(environment, "").unwrap().for_signer();
        told.into_iter()
            .find(|(name, _)| name == "TALON_SIGNER_ORIGIN")
            .map(|(_, text)| text.expose().to_owned())
    };
    assert_eq!(told(&[]), None);
    assert_eq!(
        told(&[("TALON_PUBLIC_URL", "https://Talon.example/")]).as_deref(),
        Some("https://talon.example")
    );
    assert_eq!(told(&[("TALON_PUBLIC_URL", "https://10.0.0.1")]), None);
    let own = [("TALON_PUBLIC_URL", "https://talon.example"), ("TALON_SIGNER_ORIGIN", "https://t.example")];
    assert_eq!(told(&own).as_deref(), Some("https://t.example"));
}

#[test]
fn each_process_is_told_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("password");
    std::fs::write(&secret, "hunter2\n").unwrap();
    let environment = [
        ("TALON_OPERATOR_EMAIL", "a@b.c"),
        ("TALON_OPERATOR_PASSWORD_FILE", secret.to_str().unwrap()),
        ("TALON_PKCS11_PIN", "1234"),
        ("TALON_RPC_BASE_SEPOLIA", "http://node"),
        ("TALON_TRUSTED_PROXIES", "10.0.0.1"),
        ("TALON_TLS_CERT", "cert.pem"),
        ("TALON_TLS_KEY", "key.pem"),
    ];
    let whole = load(&environment, "keystore = \"pkcs11\"\nlog = \"debug\"").unwrap();
    let names = |told: &[Variable]| told.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>().join(" ");
    assert_eq!(names(&whole.for_signer()), "TALON_KEYSTORE TALON_PKCS11_PIN TALON_LOG");

    let told = whole.for_worker(Path::new("/d"), "sqlite:///d/x", &SignerAt::Unix("/d/s".into()));
    assert!(!names(&told).contains("PIN") && !names(&told).contains("KEYSTORE"));
    let told: Vec<_> = told.into_iter().map(|(name, text)| (name, text.expose().to_owned())).collect();
    let worker = Config::load(&Flags { worker: true, ..Flags::default() }, &told).unwrap();
    assert_eq!(
        (worker.listen, &worker.public_url, &worker.log),
        (whole.listen, &whole.public_url, &whole.log)
    );
    assert_eq!((worker.trusted_proxies, worker.tls), (whole.trusted_proxies, whole.tls));
    assert_eq!(worker.operator.unwrap().1.expose(), "hunter2");
    assert_eq!(worker.rpc["base-sepolia"].expose(), "http://node");
    assert_eq!((worker.data.as_path(), worker.signer), (Path::new("/d"), SignerAt::Unix("/d/s".into())));
}
