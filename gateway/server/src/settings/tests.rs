use super::*;

#[test]
fn the_nearest_setting_is_the_one_that_was_meant() {
    for (typed, meant) in [
        ("listn", "listen"),
        ("tls_certificate", "tls_cert"),
        ("pin", "pkcs11_pin"),
        ("database", "database_url"),
    ] {
        assert_eq!(nearest(typed), meant);
    }
}

#[test]
fn every_setting_is_documented_wherever_settings_are() {
    let file = include_str!("../../../config.default.toml");
    let readme = include_str!("../../../../README.md");
    let help =
        <Flags as clap::Args>::augment_args(clap::Command::new("serve")).render_long_help().to_string();
    for setting in SETTINGS {
        let (key, variable) = (setting.key, variable(setting.key));
        let line = format!("{key} = ");
        assert!(file.lines().any(|l| l.trim_start_matches("# ").starts_with(&line)), "{key}: default file");
        assert!(readme.contains(&format!("`{variable}`")), "{key}: README");
        assert!(help.contains(&variable), "{key}: --help");
    }
}

#[test]
fn secrets_have_no_flag() {
    let command = <Flags as clap::Args>::augment_args(clap::Command::new("serve"));
    let flags: Vec<&str> = command.get_arguments().map(|flag| flag.get_id().as_str()).collect();
    assert!(flags.contains(&"listen"));
    assert!(!flags.contains(&"operator_password") && !flags.contains(&"pkcs11_pin"));
}
