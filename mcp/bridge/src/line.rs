//! Lines of standard input: whatever comes, the next line is read.

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

/// The most that a line may have, in bytes, without its end: the gateway takes no more in one request.
pub const MOST: usize = 1536 * 1024;

#[derive(PartialEq, Debug)]
pub enum Line {
    Text(String),
    /// Not UTF-8.
    NotText,
    TooLong,
}

/// The next line that is not blank; `None`: the input has ended.
pub async fn next(input: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<Line>> {
    while let Some(bytes) = next_bytes(input).await? {
        match bytes.map(String::from_utf8) {
            Some(Ok(text)) if text.trim().is_empty() => {}
            Some(Ok(text)) => return Ok(Some(Line::Text(text))),
            Some(Err(_)) => return Ok(Some(Line::NotText)),
            None => return Ok(Some(Line::TooLong)),
        }
    }
    Ok(None)
}

/// The bytes of the next line; within, `None`: it is too long. Its rest is read and let go.
async fn next_bytes(input: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<Option<Vec<u8>>>> {
    let (mut line, mut begun) = (Some(Vec::new()), false);
    loop {
        let ready = input.fill_buf().await?;
        if ready.is_empty() {
            return Ok(begun.then_some(line));
        }
        begun = true;
        let end = ready.iter().position(|byte| *byte == b'\n');
        let part = ready.get(..end.unwrap_or(ready.len())).unwrap_or_default();
        let taken = part.len() + usize::from(end.is_some());
        line = line.filter(|line| part.len() <= MOST - line.len()).map(|mut line| {
            line.extend_from_slice(part);
            line
        });
        input.consume(taken);
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::BufReader;

    use super::*;

    #[tokio::test]
    async fn each_line_is_read_whatever_the_one_before_was() {
        let longest = "x".repeat(MOST);
        let input = [b"a\r\n \n\xff\xfe\n", longest.as_bytes(), b"\n", longest.as_bytes(), b"y\nb"].concat();
        let mut input = BufReader::with_capacity(1000, input.as_slice());
        let mut lines = Vec::new();
        while let Some(line) = next(&mut input).await.unwrap() {
            lines.push(line);
        }
        let text = |text: &str| Line::Text(text.to_owned());
        assert!(lines == [text("a\r"), Line::NotText, text(&longest), Line::TooLong, text("b")]);
    }
}
