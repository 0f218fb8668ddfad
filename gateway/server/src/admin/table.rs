//! Answers for people: a table that a terminal shows as it is.

/// Columns as wide as what is in them, the last one as it comes.
pub fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let mut all = vec![heads.map(str::to_owned)];
    all.extend(rows.iter().map(|row| row.each_ref().map(|cell| printable(cell))));
    let mut widths = [0; N];
    for (column, width) in widths.iter_mut().enumerate() {
        *width = all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    }
    let mut text = String::new();
    for row in &all {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Without what would move a terminal's cursor.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [["base".to_owned(), "1".to_owned()], ["é".to_owned(), "\u{1b}[2J".to_owned()]];
        assert_eq!(table(["NAME", "ID"], &rows), "NAME  ID\nbase  1\né     \u{fffd}[2J\n");
    }
}
