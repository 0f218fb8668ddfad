//! `talon-signer certificates`: a CA, and what each end needs to believe the other.
//!
//! The CA's key is thrown away after use. Kept, it would be one more secret, and the one that makes gateways: whoever
//! found it could connect to the signer. Without it the set is closed; new certificates are a new set, CA and all.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::Time;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::start::StartError;

/// Makes the certificates with which a gateway on another host and this signer believe each other.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The folder to write them to; none of them may be there yet.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,

    /// The signer's name or address, as the gateway has it in TALON_SIGNER; may be given more than once.
    #[arg(long = "host", value_name = "NAME", required = true, value_parser = host)]
    hosts: Vec<Host>,

    /// Days until all of them expire.
    #[arg(long, value_name = "NUMBER", default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=3650))]
    days: u16,
}

/// What a certificate of the signer is for.
#[derive(Clone, Debug)]
struct Host(SanType);

fn host(text: &str) -> Result<Host, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Host(SanType::IpAddress(address)));
    }
    rustls::pki_types::DnsName::try_from(text)
        .map_err(|_| "must be a host's name or address, without a port")?;
    text.try_into().map(|name| Host(SanType::DnsName(name))).map_err(|_| "must be ASCII".to_owned())
}

/// A set, as PEM.
struct Set {
    ca: String,
    signer: (String, Zeroizing<String>),
    gateway: (String, Zeroizing<String>),
    until: Time,
}

/// Makes the files, and says which goes where.
///
/// # Errors
/// If one of them is there already, or can't be written; then none is left.
pub fn make(options: &Options, now: Time) -> Result<String, StartError> {
    let hosts = options.hosts.iter().map(|Host(name)| name.clone()).collect();
    let made = issue(hosts, options.days, now);
    let set = made.map_err(|error| StartError::new(format!("no certificates could be made ({error})")))?;
    let out = &options.out;
    let failed = |error| StartError::new(format!("{} can't be used ({error})", out.display()));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(out).map_err(failed)?;
    let files = [
        ("ca.pem", 0o644, set.ca.as_str()),
        ("signer.pem", 0o644, &set.signer.0),
        ("signer-key.pem", 0o600, &set.signer.1),
        ("gateway.pem", 0o644, &set.gateway.0),
        ("gateway-key.pem", 0o600, &set.gateway.1),
    ];
    for (done, (name, mode, text)) in files.iter().enumerate() {
        let path = out.join(name);
        if let Err(error) = write_new(&path, *mode, text) {
            let begun = usize::from(error.kind() != std::io::ErrorKind::AlreadyExists);
            for (name, ..) in files.iter().take(done + begun) {
                let _never_made = std::fs::remove_file(out.join(name));
            }
            return Err(StartError::new(format!("{} can't be made ({error})", path.display())));
        }
    }
    Ok(where_to(out, &options.hosts, set.until))
}

fn issue(hosts: Vec<SanType>, days: u16, now: Time) -> Result<Set, rcgen::Error> {
    let hour = Duration::from_secs(60 * 60);
    let until = Time::from_seconds(now.seconds()).plus(hour * 24 * u32::from(days));
    // Certificates know whole seconds.
    let since_1970 = |at: Time| Duration::from_secs(u64::try_from(at.seconds()).unwrap_or_default());
    let date = |at: Time| date_time_ymd(1970, 1, 1) + since_1970(at);
    let params = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        // The other host's clock may be a little behind.
        (params.not_before, params.not_after) = (date(now.minus(hour)), date(until));
        params
    };

    // A name of its own, so that a certificate of another set is told to be of an unknown CA, and not to be forged.
    let ca_key = KeyPair::generate()?;
    let mark = Sha256::digest(ca_key.public_key_raw());
    let mut ca =
        params(&format!("Talon signer CA {}", hex::encode(mark.first_chunk::<8>().unwrap_or(&[0; 8]))));
    // It signs ends of this one connection, and no further CA.
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca = CertifiedIssuer::self_signed(ca, ca_key)?;

    let end = |name, usage, hosts| {
        let mut end = params(name);
        end.subject_alt_names = hosts;
        end.use_authority_key_identifier_extension = true;
        end.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        end.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let cert = end.signed_by(&key, &ca)?;
        Ok::<_, rcgen::Error>((cert.pem(), Zeroizing::new(key.serialize_pem())))
    };
    Ok(Set {
        signer: end("Talon signer", ExtendedKeyUsagePurpose::ServerAuth, hosts)?,
        gateway: end("Talon gateway", ExtendedKeyUsagePurpose::ClientAuth, Vec::new())?,
        ca: ca.pem(),
        until,
    })
}

fn write_new(path: &Path, mode: u32, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn where_to(out: &Path, hosts: &[Host], until: Time) -> String {
    let out = out.display();
    let host = match hosts.first() {
        Some(Host(SanType::DnsName(name))) => name.as_str().to_owned(),
        Some(Host(SanType::IpAddress(IpAddr::V6(address)))) => format!("[{address}]"),
        Some(Host(SanType::IpAddress(address))) => address.to_string(),
        _ => "HOST".to_owned(),
    };
    format!(
        "Made in {out}, good until {until}. The CA's key is thrown away: nobody can make more of these.\n\
         \n\
         To the signer's host: ca.pem, signer.pem, signer-key.pem (secret). Start it with\n\
         \x20 talon-signer run --listen tls:0.0.0.0:8444 --tls-ca ca.pem --tls-cert signer.pem --tls-key signer-key.pem\n\
         \n\
         To the gateway's host: ca.pem, gateway.pem, gateway-key.pem (secret). Start it with\n\
         \x20 TALON_SIGNER=tls:{host}:8444 TALON_SIGNER_CA=ca.pem TALON_SIGNER_CERT=gateway.pem \
         TALON_SIGNER_KEY=gateway-key.pem talon\n\
         \n\
         Then delete what is left here: each key belongs on one host.\n"
    )
}
