//! From columns to values. A column that does not parse is damage, not bad input.

use std::str::FromStr;

use domain::{Error, PrincipalId, Result, Time};
use sqlx::any::AnyRow;
use sqlx::{ColumnIndex, Row as _};

/// Typed access to a row by column name.
pub trait Columns {
    fn text(&self, column: &str) -> Result<String>;
    fn maybe_text(&self, column: &str) -> Result<Option<String>>;
    fn number(&self, column: &str) -> Result<i64>;
    fn maybe_number(&self, column: &str) -> Result<Option<i64>>;
    fn bytes(&self, column: &str) -> Result<Vec<u8>>;
    fn maybe_bytes(&self, column: &str) -> Result<Option<Vec<u8>>>;

    /// Anything that is kept as text: an id, an enumeration, an amount.
    fn parsed<T: FromStr>(&self, column: &str) -> Result<T> {
        self.text(column)?.parse().map_err(|_| damaged(column))
    }

    fn maybe_parsed<T: FromStr>(&self, column: &str) -> Result<Option<T>> {
        self.maybe_text(column)?.map(|text| text.parse().map_err(|_| damaged(column))).transpose()
    }

    fn time(&self, column: &str) -> Result<Time> {
        self.number(column).map(Time::from_millis)
    }

    fn maybe_time(&self, column: &str) -> Result<Option<Time>> {
        Ok(self.maybe_number(column)?.map(Time::from_millis))
    }

    /// A count: never negative.
    fn count(&self, column: &str) -> Result<u64> {
        u64::try_from(self.number(column)?).map_err(|_| damaged(column))
    }

    fn maybe_count(&self, column: &str) -> Result<Option<u64>> {
        self.maybe_number(column)?.map(|n| u64::try_from(n).map_err(|_| damaged(column))).transpose()
    }

    fn flag(&self, column: &str) -> Result<bool> {
        Ok(self.number(column)? != 0)
    }

    fn principal(&self, kind: &str, id: &str) -> Result<PrincipalId> {
        PrincipalId::from_parts(&self.text(kind)?, &self.text(id)?).map_err(|_| damaged(id))
    }

    fn json(&self, column: &str) -> Result<serde_json::Map<String, serde_json::Value>> {
        serde_json::from_str(&self.text(column)?).map_err(|_| damaged(column))
    }

    fn maybe_json(&self, column: &str) -> Result<Option<serde_json::Map<String, serde_json::Value>>> {
        self.maybe_text(column)?
            .map(|text| serde_json::from_str(&text).map_err(|_| damaged(column)))
            .transpose()
    }
}

impl Columns for AnyRow {
    fn text(&self, column: &str) -> Result<String> {
        get(self, column)
    }
    fn maybe_text(&self, column: &str) -> Result<Option<String>> {
        get(self, column)
    }
    fn number(&self, column: &str) -> Result<i64> {
        get(self, column)
    }
    fn maybe_number(&self, column: &str) -> Result<Option<i64>> {
        get(self, column)
    }
    fn bytes(&self, column: &str) -> Result<Vec<u8>> {
        get(self, column)
    }
    fn maybe_bytes(&self, column: &str) -> Result<Option<Vec<u8>>> {
        get(self, column)
    }
}

fn get<'r, T>(row: &'r AnyRow, column: &str) -> Result<T>
where
    T: sqlx::Decode<'r, sqlx::Any> + sqlx::Type<sqlx::Any>,
    for<'c> &'c str: ColumnIndex<AnyRow>,
{
    row.try_get(column).map_err(crate::failed)
}

fn damaged(column: &str) -> Error {
    Error::internal(format!("the database's column {column} holds something that Talon did not write"))
}
