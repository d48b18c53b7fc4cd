//! Faults as lines of a script: `cut after=120 toward=client requests=/events times=1`.
//!
//! A line consists of words separated by spaces: the kind, then `key=value`. In values, spaces, `%` and everything
//! that is not printable ASCII are written as `%` and two hexadecimal digits.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use super::fault::{Direction, Fault, FaultKind, Refusal, Scope};

/// The reason why a line is no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// There is no such kind of fault.
    #[error("'{0}' is no kind of fault")]
    Kind(String),
    /// The kind needs this key.
    #[error("'{0}=…' is missing")]
    Missing(&'static str),
    /// A word cannot be parsed.
    #[error("'{0}' cannot be understood")]
    Word(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            FaultKind::Cut { after, reset: false } => write!(f, "cut after={after}"),
            FaultKind::Cut { after, reset: true } => write!(f, "reset after={after}"),
            FaultKind::Stall { swallow: false } => f.write_str("stall"),
            FaultKind::Stall { swallow: true } => f.write_str("swallow"),
            FaultKind::BlackHole => f.write_str("black-hole"),
            FaultKind::Delay(by) => write!(f, "delay by={}", Time(*by)),
            FaultKind::Drip { bytes, every } => write!(f, "drip bytes={bytes} every={}", Time(*every)),
            FaultKind::Truncate { after } => write!(f, "truncate after={after}"),
            FaultKind::Corrupt { after, count, one_in, high, seed } => {
                write!(f, "corrupt after={after} count={count} one-in={one_in} high={high} seed={seed}")
            }
            FaultKind::Answer { status, body } => write!(f, "answer status={status} body={}", Escaped(body)),
            FaultKind::Refuse(Refusal::Closed) => f.write_str("refuse how=closed"),
            FaultKind::Refuse(Refusal::Gone) => f.write_str("refuse how=gone"),
            FaultKind::ReplaceSocket { cut } => write!(f, "replace-socket cut={cut}"),
            FaultKind::DropEvents(part) => write!(f, "drop-events containing={}", Escaped(part)),
            FaultKind::RepeatEvents(part) => write!(f, "repeat-events containing={}", Escaped(part)),
            FaultKind::DelayEvents(part) => write!(f, "delay-events containing={}", Escaped(part)),
        }?;
        let toward = match self.direction {
            Direction::ToClient => "client",
            Direction::ToEngine => "engine",
            Direction::Both => "both",
        };
        let scope = match self.scope {
            Scope::All => "all",
            Scope::New => "new",
            Scope::Existing => "existing",
        };
        write!(f, " toward={toward} scope={scope}")?;
        if let Some(number) = self.connection {
            write!(f, " connection={number}")?;
        }
        if let Some(part) = &self.requests {
            write!(f, " requests={}", Escaped(part))?;
        }
        if let Some(part) = &self.opening {
            write!(f, " opening={}", Escaped(part))?;
        }
        match self.times {
            Some(times) => write!(f, " times={times}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Fault {
    type Err = ScriptError;

    fn from_str(line: &str) -> Result<Self, ScriptError> {
        let mut words = line.split_ascii_whitespace();
        let kind = words.next().unwrap_or_default();
        let mut values = Values::read(words)?;
        let mut fault = Self::new(values.kind(kind)?);
        match values.text("toward")?.as_deref() {
            Some("client") => fault.direction = Direction::ToClient,
            Some("engine") => fault.direction = Direction::ToEngine,
            Some("both") => fault.direction = Direction::Both,
            Some(other) => return Err(ScriptError::Word(format!("toward={other}"))),
            None => {}
        }
        match values.text("scope")?.as_deref() {
            Some("all") => fault.scope = Scope::All,
            Some("new") => fault.scope = Scope::New,
            Some("existing") => fault.scope = Scope::Existing,
            Some(other) => return Err(ScriptError::Word(format!("scope={other}"))),
            None => {}
        }
        fault.connection = values.number("connection")?;
        fault.requests = values.text("requests")?.or(fault.requests);
        fault.opening = values.text("opening")?;
        fault.times = values.number("times")?;
        match values.0.pop_first() {
            Some((key, value)) => Err(ScriptError::Word(format!("{key}={value}"))),
            None => Ok(fault),
        }
    }
}

/// The words of a line that are not parsed yet.
struct Values(BTreeMap<String, String>);

impl Values {
    fn read<'a>(words: impl Iterator<Item = &'a str>) -> Result<Self, ScriptError> {
        let pair = |word: &str| {
            let (key, value) = word.split_once('=').ok_or_else(|| ScriptError::Word(word.into()))?;
            Ok((key.into(), value.into()))
        };
        words.map(pair).collect::<Result<_, _>>().map(Self)
    }

    fn kind(&mut self, kind: &str) -> Result<FaultKind, ScriptError> {
        Ok(match kind {
            "cut" | "reset" => FaultKind::Cut { after: self.needed("after")?, reset: kind == "reset" },
            "stall" => FaultKind::Stall { swallow: false },
            "swallow" => FaultKind::Stall { swallow: true },
            "black-hole" => FaultKind::BlackHole,
            "delay" => FaultKind::Delay(self.needed::<Time>("by")?.0),
            "drip" => {
                FaultKind::Drip { bytes: self.needed("bytes")?, every: self.needed::<Time>("every")?.0 }
            }
            "truncate" => FaultKind::Truncate { after: self.needed("after")? },
            "corrupt" => FaultKind::Corrupt {
                after: self.needed("after")?,
                count: self.needed("count")?,
                one_in: self.needed("one-in")?,
                high: self.needed("high")?,
                seed: self.needed("seed")?,
            },
            "answer" => FaultKind::Answer { status: self.needed("status")?, body: self.needed_text("body")? },
            "refuse" => FaultKind::Refuse(match self.needed_text("how")?.as_str() {
                "closed" => Refusal::Closed,
                "gone" => Refusal::Gone,
                other => return Err(ScriptError::Word(format!("how={other}"))),
            }),
            "replace-socket" => FaultKind::ReplaceSocket { cut: self.needed("cut")? },
            "drop-events" => FaultKind::DropEvents(self.needed_text("containing")?),
            "repeat-events" => FaultKind::RepeatEvents(self.needed_text("containing")?),
            "delay-events" => FaultKind::DelayEvents(self.needed_text("containing")?),
            other => return Err(ScriptError::Kind(other.into())),
        })
    }

    fn number<T: FromStr>(&mut self, key: &'static str) -> Result<Option<T>, ScriptError> {
        let Some(value) = self.0.remove(key) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| ScriptError::Word(format!("{key}={value}")))
    }

    fn needed<T: FromStr>(&mut self, key: &'static str) -> Result<T, ScriptError> {
        self.number(key)?.ok_or(ScriptError::Missing(key))
    }

    fn text(&mut self, key: &'static str) -> Result<Option<String>, ScriptError> {
        let Some(value) = self.0.remove(key) else { return Ok(None) };
        unescape(&value).map(Some).ok_or_else(|| ScriptError::Word(format!("{key}={value}")))
    }

    fn needed_text(&mut self, key: &'static str) -> Result<String, ScriptError> {
        self.text(key)?.ok_or(ScriptError::Missing(key))
    }
}

/// Seconds with a fraction: `1.5s`.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.0.as_secs(), self.0.subsec_nanos())
    }
}

impl FromStr for Time {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (seconds, fraction) = text.strip_suffix('s').ok_or(())?.split_once('.').ok_or(())?;
        let nanos = format!("{fraction:0<9}").parse().ok().filter(|nanos| *nanos < 1_000_000_000).ok_or(())?;
        Ok(Self(Duration::new(seconds.parse().map_err(|_| ())?, nanos)))
    }
}

struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                b'!'..=b'~' if byte != b'%' => write!(f, "{}", char::from(byte))?,
                _ => write!(f, "%{byte:02x}")?,
            }
        }
        Ok(())
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_parsed_from_its_line() {
        for fault in [
            Fault::cut_after(120).on_requests("GET /events?a=b c%").times(1),
            Fault::reset_after(0).on_connection(7).toward(Direction::ToEngine),
            Fault::stall().only_new().on_opening("PRI * HTTP/2.0\r\n"),
            Fault::swallow().only_existing(),
            Fault::black_hole(),
            Fault::delay(Duration::new(1, 500)),
            Fault::drip(3, Duration::from_millis(20)),
            Fault::truncate_after(5),
            Fault::corrupt_at(1, 2, u64::MAX),
            Fault::corrupt_one_in(100, 3),
            Fault::answer(500, "{\"message\": \"ü\"}"),
            Fault::refuse(Refusal::Closed),
            Fault::refuse(Refusal::Gone),
            Fault::replace_socket(true),
            Fault::drop_events(""),
            Fault::repeat_events("a"),
            Fault::delay_events("\"die\""),
        ] {
            assert_eq!(fault.to_string().parse(), Ok(fault.clone()), "{fault}");
        }
    }

    #[test]
    fn a_line_may_omit_defaults() {
        assert_eq!("stall".parse(), Ok(Fault::stall()));
        assert_eq!("cut after=0 times=2".parse(), Ok(Fault::cut_after(0).times(2)));
        assert_eq!("delay by=1.5s".parse(), Ok(Fault::delay(Duration::from_millis(1500))));
    }

    #[test]
    fn a_line_that_is_no_fault_is_an_error_with_a_reason() {
        for (line, error) in [
            ("", ScriptError::Kind(String::new())),
            ("explode", ScriptError::Kind("explode".into())),
            ("cut", ScriptError::Missing("after")),
            ("cut after=x", ScriptError::Word("after=x".into())),
            ("stall now", ScriptError::Word("now".into())),
            ("stall for=ever", ScriptError::Word("for=ever".into())),
            ("stall toward=me", ScriptError::Word("toward=me".into())),
            ("drop-events containing=%4", ScriptError::Word("containing=%4".into())),
        ] {
            assert_eq!(line.parse::<Fault>(), Err(error));
        }
    }
}
