//! `talon-mcp`: MCP over standard input and output, for desktop clients.

use std::process::ExitCode;

use clap::Parser;

/// MCP over standard input and output, forwarded to a Talon gateway.
#[derive(Parser)]
#[command(name = "talon-mcp", version)]
struct Cli {
    #[command(flatten)]
    options: mcp_bridge::Options,
}

fn main() -> ExitCode {
    mcp_bridge::main(Cli::parse().options)
}
