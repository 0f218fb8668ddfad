//! The components that tests need, and the sentence that says how to get one that is missing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::certificates::Certificate;

fn environment(key: &str) -> Option<String> {
    std::env::vars().find(|(k, _)| k == key).map(|(_, value)| value)
}

/// An executable that was built with the tests.
pub fn built(name: &str) -> PathBuf {
    let folder = environment("TALON_TEST_BIN").map(PathBuf::from).unwrap_or_else(|| {
        // target/<profile>/deps/it-… → target/<profile>
        let own = std::env::current_exe().unwrap();
        own.parent().unwrap().parent().unwrap().to_owned()
    });
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing: run tests/run, or cargo build --workspace --bins", path.display());
    path
}

/// `talon`, without what the environment of the tests says of other Talons.
pub fn talon() -> Command {
    let mut command = Command::new(built("talon"));
    for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("TALON_")) {
        command.env_remove(key);
    }
    command
}

pub fn anvil() -> PathBuf {
    let path = environment("TALON_TEST_ANVIL").map(PathBuf::from).or_else(|| on_path("anvil"));
    path.filter(|p| p.exists())
        .expect("anvil is missing: tests/run installs it (npm install @foundry-rs/anvil-linux-amd64)")
}

/// A Python that has this package.
pub fn python(package: &str) -> PathBuf {
    let path = environment("TALON_TEST_PYTHON").map(PathBuf::from);
    let has = |path: &PathBuf| {
        let import = Command::new(path).args(["-c", &format!("import {package}")]).output();
        import.is_ok_and(|output| output.status.success())
    };
    path.filter(has).unwrap_or_else(|| {
        panic!(
            "no Python with {package}: tests/run makes one and sets TALON_TEST_PYTHON (pip install {package})"
        )
    })
}

pub fn postgres() -> String {
    environment("TALON_TEST_POSTGRES")
        .expect("no PostgreSQL: tests/run starts one and sets TALON_TEST_POSTGRES")
}

pub fn has_postgres() -> bool {
    environment("TALON_TEST_POSTGRES").is_some()
}

/// A script of `tests/clients`.
pub fn client_script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}

/// The folder in which this package of npm's is.
pub fn node_modules(package: &str) -> PathBuf {
    let folder = environment("TALON_TEST_NODE_MODULES").map(PathBuf::from);
    folder.filter(|folder| folder.join(package).exists()).unwrap_or_else(|| {
        panic!("no {package}: tests/run installs it (npm install {package}) and sets TALON_TEST_NODE_MODULES")
    })
}

/// Of every token that the tests make.
pub const HSM_PIN: &str = "1234";

/// SoftHSM2's module.
pub fn softhsm() -> PathBuf {
    find_softhsm().expect("SoftHSM2 is missing: apt-get install softhsm2")
}

pub fn find_softhsm() -> Option<PathBuf> {
    let places = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/lib64/softhsm/libsofthsm2.so",
    ];
    places.iter().map(PathBuf::from).find(|p| p.exists())
}

/// Makes a token labelled `talon`; the path of its configuration, for `SOFTHSM2_CONF`.
pub fn softhsm_token(folder: &Path) -> PathBuf {
    let tokens = folder.join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    let conf = folder.join("softhsm2.conf");
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        tokens.display()
    );
    std::fs::write(&conf, text).unwrap();
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "talon", "--so-pin", "5678", "--pin", HSM_PIN])
        .env("SOFTHSM2_CONF", &conf)
        .output()
        .expect("SoftHSM2 is missing: apt-get install softhsm2");
    assert!(made.status.success(), "{made:?}");
    conf
}

/// What drives Chromium.
pub fn chromedriver() -> PathBuf {
    on_path("chromedriver").expect(
        "Chromium or its driver is missing: apt-get install --no-install-recommends chromium chromium-driver",
    )
}

fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&environment("PATH")?).map(|folder| folder.join(name)).find(|p| p.exists())
}

/// A port that nobody listens on. Each process of the test run starts looking elsewhere.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let seed = u16::try_from(std::process::id() % 600).unwrap() * 20;
        // Below those that the kernel gives out (from 32,768 on): a connection would have one of these by now.
        let port = 20_000 + (seed + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A client that believes this certificate alone.
pub fn believing(server: &Certificate) -> reqwest::ClientBuilder {
    let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let root = reqwest::Certificate::from_pem(server.pem.as_bytes()).unwrap();
    reqwest::Client::builder().no_proxy().tls_certs_only([root])
}

/// A client that asks no proxy. Tests speak plain HTTP; the client wants a TLS provider all the same.
pub fn http() -> reqwest::Client {
    let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}
