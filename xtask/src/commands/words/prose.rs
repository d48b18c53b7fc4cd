//! The words of a file, and the phrases among them.

use super::phrases::{PHRASES, Phrase};

/// Stands for code between backticks: no phrase goes across it.
const CODE: char = '\0';

#[derive(Debug)]
struct Word<'a> {
    text: &'a str,
    line: usize,
    /// Whether only white space is between the former word and this one, so that a phrase may contain both.
    joined: bool,
}

/// Returns the phrases in a file, with the lines on which they begin: of Rust in all of it, of Markdown
/// outside of code. What is between backticks is skipped.
pub(super) fn finds(text: &str, is_rust: bool) -> Vec<(&'static Phrase, usize, String)> {
    let text = prose(text, is_rust);
    let words = words(&text);
    let found = |start: usize| {
        PHRASES.iter().find_map(|phrase| {
            let rest = words.get(start..)?;
            let length = phrase.spellings.iter().find_map(|spelling| length_of(spelling, rest))?;
            let text: Vec<_> = rest.iter().take(length).map(|word| word.text).collect();
            Some((phrase, rest.first()?.line, text.join(" ")))
        })
    };
    (0..words.len()).filter_map(found).collect()
}

/// Masks code, and what begins and ends lines of comments and strings. Each line stays where it was.
fn prose(text: &str, is_rust: bool) -> String {
    let mut prose = String::new();
    let mut fenced = false;
    for line in text.lines() {
        let trimmed = line.trim();
        let fence = !is_rust && trimmed.starts_with("```");
        fenced ^= fence;
        if fence || fenced {
            prose.push(CODE);
        } else {
            let rest = trimmed.strip_prefix("//").filter(|_| is_rust);
            let rest = rest.map_or(trimmed, |rest| rest.trim_start_matches(['/', '!']));
            push_line(&mut prose, rest.trim_end_matches('\\'));
        }
        prose.push('\n');
    }
    prose
}

/// Adds a line without what is between backticks. After one without a counterpart on the line is no code: it
/// must not hide what follows. The words of an identifier are words.
fn push_line(prose: &mut String, line: &str) {
    let backticks = line.matches('`').count();
    for (index, part) in line.split('`').enumerate() {
        if index > 0 {
            prose.push(CODE);
        }
        if index % 2 == 0 || index == backticks {
            prose.push_str(&part.replace('_', " "));
        }
    }
}

fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(begin) = rest.find(char::is_alphanumeric) {
        let (between, from_word) = rest.split_at(begin);
        let end = from_word.find(|c: char| !c.is_alphanumeric()).unwrap_or(from_word.len());
        let (text, after) = from_word.split_at(end);
        line += between.matches('\n').count();
        words.push(Word { text, line, joined: between.trim().is_empty() });
        rest = after;
    }
    words
}

/// Returns of how many of the words this spelling consists, if they begin with it.
fn length_of(spelling: &str, words: &[Word<'_>]) -> Option<usize> {
    let mut length = 0;
    for expected in spelling.split(' ') {
        let word = words.get(length)?;
        let lower = word.text.to_lowercase();
        let equal = match expected.strip_suffix('*') {
            Some(beginning) => lower.starts_with(beginning),
            None => lower == expected,
        };
        if !equal || (length > 0 && !word.joined) {
            return None;
        }
        length += 1;
    }
    Some(length)
}
