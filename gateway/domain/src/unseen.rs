//! What can't be seen in a text, or turns it around: it has no place in what people are shown to decide on, nor in what
//! models read, where it says something that nobody else sees.

/// What stands before it is shown as an emoji.
const AS_EMOJI: char = '\u{fe0f}';
/// Zero-width joiner and non-joiner.
const ZWJ: char = '\u{200d}';
const ZWNJ: char = '\u{200c}';

/// Unicode's Default_Ignorable_Code_Point (UAX #44), marks of annotations, separators of lines, and blanks that are no
/// spaces.
pub fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Whether it has a control character or an invisible one. What shows an emoji as one, joins two, or belongs to the spelling of
/// a word stays: one between two characters that ask for it, which leaves no room for a hidden text.
pub fn has_unseen(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    let hides = |(n, c): (usize, &char)| {
        (c.is_control() || is_invisible(*c)) && !belongs(*c, &chars[..n], chars.get(n + 1).copied())
    };
    chars.iter().enumerate().any(hides)
}

fn belongs(c: char, before: &[char], after: Option<char>) -> bool {
    let (Some(last), after) = (before.last().copied(), after.unwrap_or(' ')) else { return false };
    let emoji = |c: char| !c.is_ascii() && may_be_emoji(c);
    let styled = if last == AS_EMOJI { before.iter().rev().nth(1).copied().unwrap_or(' ') } else { last };
    match c {
        AS_EMOJI => may_be_emoji(last),
        ZWJ if emoji(styled) && emoji(after) => true,
        ZWJ | ZWNJ => joins(last) && joins(after),
        _ => false,
    }
}

/// A letter or sign of a script in which joiners tell words apart (Arabic and the scripts of India).
fn joins(c: char) -> bool {
    matches!(c, '\u{620}'..='\u{6ff}' | '\u{900}'..='\u{dff}')
}

/// What has two looks, and what is an emoji at any rate (UTS #51).
fn may_be_emoji(c: char) -> bool {
    matches!(
        c,
        '#' | '*' | '0'..='9' | '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}'
            | '\u{2190}'..='\u{2bff}' | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}' | '\u{1f000}'..='\u{1faff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first and the last of each range, and what is beside it.
    #[test]
    fn what_unicode_ignores_is_unseen_and_its_neighbours_are_not() {
        for (first, last) in [
            (0xad, 0xad),
            (0x34f, 0x34f),
            (0x61c, 0x61c),
            (0x115f, 0x1160),
            (0x17b4, 0x17b5),
            (0x180b, 0x180f),
            (0x200b, 0x200f),
            (0x2028, 0x202e),
            (0x2060, 0x206f),
            (0x2800, 0x2800),
            (0x3164, 0x3164),
            (0xfe00, 0xfe0f),
            (0xfeff, 0xfeff),
            (0xffa0, 0xffa0),
            (0xfff0, 0xfffb),
            (0x1bca0, 0x1bca3),
            (0x1d159, 0x1d159),
            (0x1d173, 0x1d17a),
            (0xe0000, 0xe0fff),
        ] {
            for (code, unseen) in [(first - 1, false), (first, true), (last, true), (last + 1, false)] {
                let c = char::from_u32(code).unwrap();
                assert_eq!(is_invisible(c), unseen, "{code:x}");
                assert_eq!(has_unseen(&format!("a{c}b")), unseen, "{code:x}");
            }
        }
        for control in ["a\u{0}", "\n", "a\u{7f}", "a\u{85}b"] {
            assert!(has_unseen(control), "{control:?}");
        }
    }

    #[test]
    fn emoji_keep_their_look_and_letters_hide_nothing() {
        for seen in [
            "",
            "❤\u{fe0f}",
            "1\u{fe0f}\u{20e3}",
            "the ☎\u{fe0f} bot",
            "🅰\u{fe0f}",
            "日本語",
            "e\u{301}",
            "க்ஷ",
            "🤖",
            "👩\u{200d}💻 bot",
            "❤\u{fe0f}\u{200d}🔥",
            "👨🏽\u{200d}👩\u{200d}👧",
            "خانه\u{200c}ها",
            "क\u{94d}\u{200d}ष",
        ] {
            assert!(!has_unseen(seen), "{seen:?}");
        }
        for unseen in [
            "\u{fe0f}",
            "a\u{fe0f}",
            " \u{fe0f}",
            "❤\u{fe0f}\u{fe0f}",
            "❤\u{fe0e}",
            "\u{2800}\u{fe0f}",
            "❤\u{e0061}",
            "a\u{200d}b",
            "1\u{200d}2",
            "👩\u{200d}",
            "👩\u{200d}\u{200d}💻",
            "خانه\u{200c}\u{200c}ها",
            "ها\u{200c}",
        ] {
            assert!(has_unseen(unseen), "{unseen:?}");
        }
    }
}
