//! What the signer is not made of: no HTTP, no database, no MCP.

#[test]
fn the_signer_links_no_http_database_or_mcp_code() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = std::process::Command::new(cargo)
        .args(["tree", "--package", "signer", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let crates: Vec<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(crates.contains(&"signer") && crates.contains(&"redb"), "the tree is not the signer's: {tree}");
    let unwanted = [
        "hyper",
        "h2",
        "http",
        "axum",
        "reqwest",
        "sqlx",
        "sqlx-core",
        "rusqlite",
        "libsqlite3-sys",
        "rmcp",
        "alloy",
    ];
    let found: Vec<&&str> = crates.iter().filter(|name| unwanted.contains(name)).collect();
    assert!(found.is_empty(), "the signer links {found:?}");
}
