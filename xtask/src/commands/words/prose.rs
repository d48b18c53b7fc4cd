//! What a file says in prose, without its code.

use std::iter::Peekable;
use std::str::Chars;

use super::phrases::{PHRASES, Phrase};

/// Stands for code: no phrase goes across it.
const CODE: char = '\0';

/// A text in which code is masked; each line is where it was.
#[derive(Debug, Default)]
pub(super) struct Prose {
    text: String,
}

#[derive(Debug)]
struct Word<'a> {
    text: &'a str,
    line: usize,
    /// Whether only white space is between the former word and this one, so that a phrase may contain both.
    joined: bool,
}

impl Prose {
    /// Keeps the comments, string literals and function names of Rust code.
    pub(super) fn of_rust(text: &str) -> Prose {
        let mut lexer = Lexer { rest: text.chars().peekable(), prose: Prose::default() };
        lexer.run();
        lexer.prose
    }

    /// Keeps what is in Markdown outside of code.
    pub(super) fn of_markdown(text: &str) -> Prose {
        let mut prose = Prose::default();
        let mut fenced = false;
        for line in text.lines() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
                prose.text.push(CODE);
            } else if fenced {
                prose.text.push(CODE);
            } else {
                prose.push_line(line);
            }
            prose.text.push('\n');
        }
        prose
    }

    /// Returns the phrases in the text, with the lines on which they begin.
    pub(super) fn finds(&self) -> Vec<(&'static Phrase, usize, String)> {
        let words = self.words();
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

    fn words(&self) -> Vec<Word<'_>> {
        let mut words = Vec::new();
        let (mut rest, mut line) = (self.text.as_str(), 1);
        while let Some(begin) = rest.find(is_of_word) {
            let (between, from_word) = rest.split_at(begin);
            let (text, after) =
                from_word.split_at(from_word.find(|c| !is_of_word(c)).unwrap_or(from_word.len()));
            line += between.matches('\n').count();
            // After a brace it is an argument of a format string.
            if !between.ends_with('{') {
                words.push(Word { text, line, joined: between.trim().is_empty() });
            }
            rest = after;
        }
        words
    }

    /// Adds a line without what is between backticks. After one without a counterpart on the line is no code: it must not hide
    /// what follows.
    fn push_line(&mut self, line: &str) {
        let backticks = line.matches('`').count();
        for (index, part) in line.split('`').enumerate() {
            if index > 0 {
                self.text.push(CODE);
            }
            if index % 2 == 0 || index == backticks {
                self.text.push_str(part);
            }
        }
    }
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

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Finds the prose in Rust code.
struct Lexer<'a> {
    rest: Peekable<Chars<'a>>,
    prose: Prose,
}

impl Lexer<'_> {
    fn run(&mut self) {
        while let Some(c) = self.rest.next() {
            match c {
                '/' if self.take('/') => self.line_comment(),
                '/' if self.take('*') => self.block_comment(),
                '"' => self.string(),
                '\'' => self.quote(),
                _ if is_of_word(c) => self.word(c),
                _ => self.code(c),
            }
        }
    }

    fn take(&mut self, expected: char) -> bool {
        self.rest.next_if_eq(&expected).is_some()
    }

    fn code(&mut self, c: char) {
        self.prose.text.push(if c.is_whitespace() { c } else { CODE });
    }

    /// Reads a comment to the end of its line. What begins the next line of it counts as white space.
    fn line_comment(&mut self) {
        while self.take('/') || self.take('!') {}
        let mut line = String::new();
        while let Some(c) = self.rest.next_if(|c| *c != '\n') {
            line.push(c);
        }
        self.prose.push_line(&line);
    }

    fn block_comment(&mut self) {
        self.prose.text.push(' ');
        let mut depth = 1;
        while depth > 0 {
            match self.rest.next() {
                None => return,
                Some('*') if self.take('/') => depth -= 1,
                Some('/') if self.take('*') => depth += 1,
                Some('*') => self.prose.text.push(' '),
                Some(c) => self.prose.text.push(c),
            }
        }
    }

    fn string(&mut self) {
        self.prose.text.push(CODE);
        while let Some(c) = self.rest.next() {
            match c {
                '"' => break,
                // At the end of a line it joins this one and the next one.
                '\\' if self.rest.peek() == Some(&'\n') => {}
                '\\' => {
                    self.rest.next();
                    self.prose.text.push(CODE);
                }
                _ => self.prose.text.push(c),
            }
        }
        self.prose.text.push(CODE);
    }

    fn raw_string(&mut self, hashes: usize) {
        let end = format!("\"{}", "#".repeat(hashes));
        let mut text = String::new();
        for c in self.rest.by_ref() {
            text.push(c);
            if text.ends_with(&end) {
                break;
            }
        }
        self.prose.text.push_str(&text);
        self.prose.text.push(CODE);
    }

    /// Skips a character, or the quote of a lifetime.
    fn quote(&mut self) {
        self.prose.text.push(CODE);
        let mut ahead = self.rest.clone();
        let (first, second) = (ahead.next(), ahead.next());
        if first == Some('\\') {
            self.rest.nth(1);
            while self.rest.next_if(|c| *c != '\'').is_some() {}
            self.rest.next();
        } else if second == Some('\'') {
            self.rest.nth(1);
        }
    }

    /// Reads an identifier, which may be the prefix of a string or come before a function's name.
    fn word(&mut self, first: char) {
        let word = self.identifier(first.to_string());
        self.prose.text.push(CODE);
        match word.as_str() {
            "fn" => {
                let name = self.identifier(String::new());
                // A word of it is one of a phrase, too.
                self.prose.text.push_str(&name.replace('_', " "));
                self.prose.text.push(CODE);
            }
            "r" | "br" | "cr" => {
                let mut ahead = self.rest.clone();
                let mut hashes = 0;
                while ahead.next_if_eq(&'#').is_some() {
                    hashes += 1;
                }
                if ahead.next() == Some('"') {
                    self.rest = ahead;
                    self.raw_string(hashes);
                }
            }
            _ => {}
        }
    }

    /// Reads an identifier that begins with this, after white space if it is empty.
    fn identifier(&mut self, mut name: String) -> String {
        while name.is_empty()
            && let Some(space) = self.rest.next_if(|c| c.is_whitespace())
        {
            self.prose.text.push(space);
        }
        while let Some(c) = self.rest.next_if(|c| is_of_word(*c)) {
            name.push(c);
        }
        name
    }
}
