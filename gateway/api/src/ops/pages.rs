//! The page that the links of mails, and devices, lead to. It is the same for each; what it offers follows from its address.

/// The addresses.
pub const PATHS: [&str; 5] = ["/verify", "/reset", "/enrolled", "/join", "/device"];

/// The page. The ticket is in the link's fragment, which a browser never sends: it leaves the browser when somebody
/// presses the button, and not before.
pub const PAGE: &str = include_str!("link.html");
