//! What makes an operation a tool of a model's (MCP): a name, a text written for a model, and which of the
//! operation's fields are its arguments. Everything else is the operation's own.

use signer_protocol::record::Principal;

/// A tool, as its operation declares it.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    pub name: &'static str,
    pub effect: Effect,
    /// For a model: when to use it, and what to do on each error.
    pub about: &'static str,
    pub arguments: &'static [Argument],
    /// Whether a model is told what the answer looks like; where names say it all, it costs tokens for nothing.
    pub shows_output: bool,
    only_for: Option<fn(&Principal) -> bool>,
}

/// What calling it does, from which the hints to clients follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Nothing changes.
    Reads,
    /// A value leaves, and the read is counted.
    Reveals,
    /// Something is added; nothing is lost.
    Adds,
    /// Something is gone afterwards.
    Removes,
    /// Money is moved on a chain, for good.
    Spends,
}

impl Tool {
    pub const fn new(name: &'static str, effect: Effect, about: &'static str) -> Self {
        Self { name, effect, about, arguments: &[], shows_output: false, only_for: None }
    }

    /// Its arguments, in the order in which a model sees them. A placeholder of the path that is none of them is the
    /// caller's own: its agent id, its default vault.
    pub const fn takes(mut self, arguments: &'static [Argument]) -> Self {
        self.arguments = arguments;
        self
    }

    pub const fn shows_output(mut self) -> Self {
        self.shows_output = true;
        self
    }

    /// Hides it from whom the operation would refuse anyway. The rule stays the operation's: pass the same one.
    pub const fn only_for(mut self, rule: fn(&Principal) -> bool) -> Self {
        self.only_for = Some(rule);
        self
    }

    pub(crate) fn is_for(&self, who: &Principal) -> bool {
        self.only_for.is_none_or(|rule| rule(who))
    }
}

/// One argument: a placeholder of the path, a field of the body or the query, or a header.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    pub name: &'static str,
    /// Over the field's own text.
    pub about: Option<&'static str>,
    /// What is sent when it is left out.
    pub default: Option<Default>,
    /// Sent as this header.
    pub header: Option<&'static str>,
    /// Whether a model must give it, though the operation may do without.
    pub required: bool,
}

/// What is sent for an argument that is left out.
#[derive(Clone, Copy, Debug)]
pub enum Default {
    Text(&'static str),
    Texts(&'static [&'static str]),
    Flag(bool),
    Number(u64),
    /// A fresh random UUID, which the answer tells.
    Fresh,
}

/// The argument with this name.
pub const fn arg(name: &'static str) -> Argument {
    Argument { name, about: None, default: None, header: None, required: false }
}

impl Argument {
    pub const fn about(mut self, text: &'static str) -> Self {
        self.about = Some(text);
        self
    }

    pub const fn or(mut self, default: Default) -> Self {
        self.default = Some(default);
        self
    }

    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub const fn header(mut self, name: &'static str) -> Self {
        self.header = Some(name);
        self
    }
}
