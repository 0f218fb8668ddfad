//! The catalog's tools, as MCP lists them.

use api::tool::{Effect, Tool};
use api::{Entry, Visitor};
use rmcp::model::ToolAnnotations;
use serde_json::Value;

use crate::schema;

/// A tool and the operation behind it.
pub struct Listed {
    pub entry: Entry,
    pub tool: Tool,
    shown: rmcp::model::Tool,
}

/// All tools, in the order of the catalog.
pub struct Tools(Vec<Listed>);

impl Tools {
    pub fn of_the_catalog() -> Self {
        let listed = api::catalog::entries().into_iter().filter_map(|entry| {
            let tool = entry.route.tool?;
            Some(Listed { shown: shown(&entry, &tool), entry, tool })
        });
        Self(listed.collect())
    }

    pub fn named(&self, name: &str) -> Option<&Listed> {
        self.0.iter().find(|listed| listed.tool.name == name)
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|listed| listed.tool.name)
    }

    pub fn seen_by(&self, visitor: &Visitor) -> Vec<rmcp::model::Tool> {
        let seen = self.0.iter().filter(|listed| visitor.sees(&listed.tool));
        seen.map(|listed| listed.shown.clone()).collect()
    }
}

/// All tools, as an agent that may use each of them would see them: what `mcp/tools.json` holds.
///
/// # Errors
/// If a tool can't be written as JSON.
pub fn document() -> serde_json::Result<Value> {
    let shown: Vec<_> = Tools::of_the_catalog().0.into_iter().map(|listed| listed.shown).collect();
    Ok(serde_json::json!({ "tools": serde_json::to_value(shown)? }))
}

fn shown(entry: &Entry, tool: &Tool) -> rmcp::model::Tool {
    let schemas = schema::of(entry, tool);
    let shown =
        rmcp::model::Tool::new(tool.name, tool.about, schemas.input).with_annotations(hints(tool.effect));
    match schemas.output {
        Some(output) => shown.with_raw_output_schema(output.into()),
        None => shown,
    }
}

/// What clients go by when they ask their users. Hints: the gateway decides by itself.
fn hints(effect: Effect) -> ToolAnnotations {
    let (read_only, destructive, idempotent, open_world) = match effect {
        Effect::Reads => (true, false, true, false),
        Effect::Reveals | Effect::Adds => (false, false, false, false),
        Effect::Removes => (false, true, true, false),
        Effect::Spends => (false, true, false, true),
    };
    ToolAnnotations::from_raw(None, Some(read_only), Some(destructive), Some(idempotent), Some(open_world))
}
