//! containerd's filters: `FIELD OPERATOR VALUE`, all of those that are joined by commas, any of several filters.

use regex_lite::Regex;

/// What a filter can look at.
pub(super) trait Fields {
    /// The value of a field, if there is such a field and it is not empty.
    fn field(&self, path: &[String]) -> Option<String>;
}

/// Several filters, of which any may match. None at all match everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Filters(Vec<Vec<Selector>>);

#[derive(Clone, Debug)]
struct Selector {
    path: Vec<String>,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Present,
    Equal(String),
    NotEqual(String),
    /// Nothing matches an expression that cannot be compiled; containerd only logs it.
    Matches(Option<Regex>),
}

impl Filters {
    /// `Err` says what is wrong with one of them.
    pub(super) fn parse(filters: &[String]) -> Result<Self, String> {
        filters.iter().map(|filter| Parser::new(filter).selectors()).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn matches(&self, subject: &impl Fields) -> bool {
        self.0.is_empty()
            || self.0.iter().any(|selectors| selectors.iter().all(|selector| selector.matches(subject)))
    }
}

impl Selector {
    fn matches(&self, subject: &impl Fields) -> bool {
        let value = subject.field(&self.path);
        match &self.test {
            Test::Present => value.is_some(),
            Test::Equal(wanted) => value.as_deref() == Some(wanted),
            // Of a missing field too.
            Test::NotEqual(unwanted) => value.unwrap_or_default() != *unwanted,
            Test::Matches(expression) => {
                expression.as_ref().is_some_and(|expression| expression.is_match(&value.unwrap_or_default()))
            }
        }
    }
}

struct Parser<'a> {
    whole: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn new(filter: &'a str) -> Self {
        Self { whole: filter, rest: filter }
    }

    /// An empty filter matches everything, so it has no selectors.
    fn selectors(mut self) -> Result<Vec<Selector>, String> {
        let mut selectors = Vec::new();
        while !self.whole.is_empty() {
            selectors.push(self.selector()?);
            if self.rest.is_empty() {
                break;
            }
            self.rest = self.rest.strip_prefix(',').ok_or_else(|| self.wrong("unexpected input"))?;
        }
        Ok(selectors)
    }

    fn selector(&mut self) -> Result<Selector, String> {
        let mut path = vec![self.field()?];
        while let Some(rest) = self.rest.strip_prefix('.') {
            self.rest = rest;
            path.push(self.field()?);
        }
        if self.rest.is_empty() || self.rest.starts_with(',') {
            return Ok(Selector { path, test: Test::Present });
        }
        let end = self.rest.find(|c| !matches!(c, '=' | '!' | '~')).unwrap_or(self.rest.len());
        let (operator, rest) = self.rest.split_at(end);
        self.rest = rest;
        let value = |parser: &mut Self, slashes: bool| parser.value(slashes);
        let test = match operator {
            "==" => Test::Equal(value(self, false)?),
            "!=" => Test::NotEqual(value(self, false)?),
            "~=" => Test::Matches(Regex::new(&value(self, true)?).ok()),
            _ => return Err(self.wrong("expected an operator (\"==\"|\"!=\"|\"~=\")")),
        };
        Ok(Selector { path, test })
    }

    fn field(&mut self) -> Result<String, String> {
        if self.rest.starts_with('"') {
            return self.quoted('"');
        }
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')))
            .unwrap_or(self.rest.len());
        if end == 0 {
            return Err(self.wrong("expected field or quoted"));
        }
        let (field, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(field.into())
    }

    /// Bare up to a comma or white space, or quoted; an expression also between slashes or bars.
    fn value(&mut self, expression: bool) -> Result<String, String> {
        match self.rest.chars().next() {
            Some('"') => self.quoted('"'),
            Some(quote @ ('/' | '|')) if expression => self.quoted(quote),
            Some('/' | '|') => Err(self.wrong("unquoting failed: invalid syntax")),
            None | Some(',') => Err(self.wrong("expected value or quoted")),
            Some(_) => {
                let end = self.rest.find(|c: char| c == ',' || c.is_whitespace()).unwrap_or(self.rest.len());
                let (value, rest) = self.rest.split_at(end);
                self.rest = rest;
                Ok(value.into())
            }
        }
    }

    /// As a string of Go's. Of its escapes, those for single characters are known; others are an error.
    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let mut value = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                '\n' => break,
                '\\' => {
                    let escaped = match characters.next() {
                        Some((_, c)) if c == quote || c == '\\' => c,
                        Some((_, 'n')) => '\n',
                        Some((_, 't')) => '\t',
                        _ => return Err(self.wrong("illegal escape sequence")),
                    };
                    value.push(escaped);
                }
                character if character == quote => {
                    self.rest = &self.rest[at + quote.len_utf8()..];
                    return Ok(value);
                }
                character => value.push(character),
            }
        }
        Err(self.wrong("quoted literal not terminated"))
    }

    fn wrong(&self, what: &str) -> String {
        let at = self.whole.len() - self.rest.len();
        format!("filters: parse error: [{} >|< {}]: {what}", &self.whole[..at], self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sample;

    impl Fields for Sample {
        fn field(&self, path: &[String]) -> Option<String> {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            match path[..] {
                ["topic"] => Some("/tasks/start".into()),
                ["namespace"] => Some("shop".into()),
                ["labels", "nerdctl/name"] => Some("web".into()),
                _ => None,
            }
        }
    }

    fn any_matches(filters: &[&str]) -> bool {
        let filters: Vec<String> = filters.iter().map(|filter| (*filter).into()).collect();
        Filters::parse(&filters).unwrap().matches(&Sample)
    }

    #[test]
    fn the_operators_compare() {
        for (filter, expected) in [
            ("topic==\"/tasks/start\"", true),
            ("topic==\"/tasks\"", false),
            ("topic~=\"^/tasks/\"", true),
            ("topic~=/start$/", true),
            ("topic~=|^.tasks|", true),
            ("topic~=\"^/containers/\"", false),
            ("namespace!=moby", true),
            ("namespace!=shop", false),
            ("namespace==shop", true),
            ("namespace", true),
            ("labels.\"nerdctl/name\"==web", true),
            // A field that is not there is not equal to anything, and matches what matches nothing.
            ("absent", false),
            ("absent==x", false),
            ("absent!=x", true),
            ("absent~=\"^$\"", true),
            ("topic~=\"(\"", false),
            ("", true),
        ] {
            assert_eq!(any_matches(&[filter]), expected, "{filter}");
        }
    }

    #[test]
    fn a_comma_is_and_and_several_filters_are_or() {
        assert!(any_matches(&["topic~=\"^/tasks/\",namespace!=moby,namespace!=k8s.io"]));
        assert!(!any_matches(&["topic~=\"^/tasks/\",namespace!=shop"]));
        assert!(any_matches(&["topic==x", "namespace==shop"]));
        assert!(!any_matches(&["topic==x", "namespace==y"]));
        assert!(any_matches(&[]));
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for filter in
            ["==x", "topic=x", "topic==", "topic==\"x", "topic==/x/", "topic==x,", "a b", "topic==x y"]
        {
            assert!(Filters::parse(&[filter.into()]).is_err(), "{filter}");
        }
    }
}
