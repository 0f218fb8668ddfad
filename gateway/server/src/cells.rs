//! Rows as a backup has them: for each cell its kind (one byte), then the value.

use store::backup::{Cell, Table, Type};

const NONE: u8 = b'-';
const TEXT: u8 = b't';
const NUMBER: u8 = b'n';
const BYTES: u8 = b'b';

/// Appends a row.
pub fn write(out: &mut Vec<u8>, row: &[Cell]) {
    let mut piece = |kind: u8, bytes: &[u8]| {
        out.push(kind);
        out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        out.extend_from_slice(bytes);
    };
    for cell in row {
        match cell {
            Cell::Text(Some(text)) => piece(TEXT, text.as_bytes()),
            Cell::Number(Some(number)) => piece(NUMBER, &number.to_be_bytes()),
            Cell::Bytes(Some(bytes)) => piece(BYTES, bytes),
            Cell::Text(None) | Cell::Number(None) | Cell::Bytes(None) => piece(NONE, &[]),
        }
    }
}

/// The rows of a frame; `None` if they are not of this table.
pub fn read(mut bytes: &[u8], table: &Table) -> Option<Vec<Vec<Cell>>> {
    let mut rows = Vec::new();
    if table.columns.is_empty() {
        return bytes.is_empty().then_some(rows);
    }
    while !bytes.is_empty() {
        let mut row = Vec::with_capacity(table.columns.len());
        for (_, kind) in &table.columns {
            row.push(cell(&mut bytes, *kind)?);
        }
        rows.push(row);
    }
    Some(rows)
}

fn cell(bytes: &mut &[u8], kind: Type) -> Option<Cell> {
    let (&code, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let (value, rest) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
    *bytes = rest;
    match (kind, code) {
        (Type::Text, TEXT) => Some(Cell::Text(Some(String::from_utf8(value.to_vec()).ok()?))),
        (Type::Number, NUMBER) => Some(Cell::Number(Some(i64::from_be_bytes(value.try_into().ok()?)))),
        (Type::Bytes, BYTES) => Some(Cell::Bytes(Some(value.to_vec()))),
        (Type::Text, NONE) => Some(Cell::Text(None)),
        (Type::Number, NONE) => Some(Cell::Number(None)),
        (Type::Bytes, NONE) => Some(Cell::Bytes(None)),
        _ => None,
    }
}

/// A table's description, as JSON.
pub fn describe(table: &Table) -> serde_json::Value {
    let columns = table.columns.iter().map(|(name, kind)| {
        let kind = match kind {
            Type::Text => "TEXT",
            Type::Number => "BIGINT",
            Type::Bytes => "BYTEA",
        };
        serde_json::json!([name, kind])
    });
    serde_json::json!({"name": table.name, "columns": columns.collect::<Vec<_>>()})
}

/// What [`describe`] wrote.
pub fn described(json: &[u8]) -> Option<Table> {
    let json: serde_json::Value = serde_json::from_slice(json).ok()?;
    let columns = json.get("columns")?.as_array()?.iter().map(|column| {
        let kind = match column.get(1)?.as_str()? {
            "TEXT" => Type::Text,
            "BIGINT" => Type::Number,
            "BYTEA" => Type::Bytes,
            _ => return None,
        };
        Some((column.get(0)?.as_str()?.to_owned(), kind))
    });
    Some(Table { name: json.get("name")?.as_str()?.to_owned(), columns: columns.collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_were() {
        let columns = [("a", Type::Text), ("b", Type::Number), ("c", Type::Bytes)];
        let columns = columns.map(|(name, kind)| (name.to_owned(), kind)).to_vec();
        let table = Table { name: "t".into(), columns };
        let rows = vec![
            vec![Cell::Text(Some("é".into())), Cell::Number(Some(-1)), Cell::Bytes(Some(vec![0, 255]))],
            vec![Cell::Text(None), Cell::Number(None), Cell::Bytes(None)],
            vec![
                Cell::Text(Some(String::new())),
                Cell::Number(Some(i64::MAX)),
                Cell::Bytes(Some(Vec::new())),
            ],
        ];
        let mut bytes = Vec::new();
        rows.iter().for_each(|row| write(&mut bytes, row));
        assert_eq!(read(&bytes, &table), Some(rows));
        assert_eq!(read(&bytes[..bytes.len() - 1], &table), None);
        assert_eq!(described(&serde_json::to_vec(&describe(&table)).unwrap()), Some(table));
    }
}
