//! The grammar of RFC 8259 as a machine that can stop after any character. Tells `facts` what stands at the top level.
//! Text comes in as valid UTF-8: `utf8` has seen to that.

use super::{BodyError, StateFacts, facts::Facts, nest::Nest, run};

/// What comes next.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// The body's one object.
    #[default]
    Body,
    Value,
    /// A value or `]`.
    First,
    /// A key or `}`.
    FirstKey,
    Key,
    Colon,
    /// `,` or the end of the object or array.
    Next,
    /// White space to the end.
    Done,
    /// The rest of a string.
    Text,
    /// What follows a backslash.
    Escape,
    /// The digits of `\u`.
    Hex,
    /// The rest of `true`, `false` or `null`.
    Word,
    // A number, by what came last.
    Minus,
    Zero,
    Digits,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

/// The scanner of one body.
#[derive(Default)]
pub(super) struct Scanner {
    state: State,
    nest: Nest,
    /// Whether the string that is being read is a key.
    key: bool,
    /// Whether `facts` wants the string or the number that is being read.
    wanted: bool,
    word: &'static [u8],
    hex: u16,
    hex_digits: u8,
    /// Where in the body the text under scan begins.
    offset: u64,
    facts: Facts,
}

impl Scanner {
    /// Takes the next characters, which stand at `offset` in the body.
    pub(super) fn scan(&mut self, text: &str, offset: u64) -> Result<(), BodyError> {
        self.offset = offset;
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.state {
                State::Text => at = self.text(text, at)?,
                State::Escape => at = self.escape(byte, at)?,
                State::Hex => at = self.hex(byte, at)?,
                State::Word => at = self.word(byte, at)?,
                State::Minus
                | State::Zero
                | State::Digits
                | State::Point
                | State::Fraction
                | State::Exponent
                | State::ExponentSign
                | State::ExponentDigits => at = self.number(bytes, at)?,
                _ if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') => at = run::blank(bytes, at),
                State::Value | State::First => at = self.value(byte, at)?,
                _ => at = self.structure(byte, at)?,
            }
        }
        Ok(())
    }

    /// Whether the end would come inside a string.
    pub(super) fn in_text(&self) -> bool {
        self.state == State::Text
    }

    /// The body has ended.
    pub(super) fn finish(self) -> Result<StateFacts, BodyError> {
        match self.state {
            State::Done => self.facts.finish(),
            State::Body => Err(BodyError::Empty),
            _ => Err(BodyError::Truncated),
        }
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.nest.heap_bytes() + self.facts.heap_bytes()
    }

    /// A byte between values, not white space.
    fn structure(&mut self, byte: u8, at: usize) -> Result<usize, BodyError> {
        match (self.state, byte) {
            (State::Next, b',') => self.state = if self.nest.in_object() { State::Key } else { State::Value },
            (State::Colon, b':') => self.state = State::Value,
            (State::Key | State::FirstKey, b'"') => {
                self.state = State::Text;
                self.key = true;
                self.wanted = self.nest.depth() == 1;
                if self.wanted {
                    self.facts.key_begins();
                }
            }
            (State::FirstKey, b'}') => self.close(),
            (State::Next, b'}') if self.nest.in_object() => self.close(),
            (State::Next, b']') if !self.nest.in_object() => self.close(),
            (State::Body, b'{') => self.open(true)?,
            (State::Body, b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => return Err(BodyError::NotObject),
            (State::Done, _) => return Err(BodyError::TrailingData { offset: self.offset + at as u64 }),
            _ => return Err(self.unexpected(byte, at)),
        }
        Ok(at + 1)
    }

    /// The first byte of a value.
    fn value(&mut self, byte: u8, at: usize) -> Result<usize, BodyError> {
        let state = match byte {
            b'"' => State::Text,
            b'{' | b'[' => State::First,
            b'-' => State::Minus,
            b'0' => State::Zero,
            b'1'..=b'9' => State::Digits,
            b't' | b'f' | b'n' => State::Word,
            b']' if self.state == State::First => {
                self.close();
                return Ok(at + 1);
            }
            _ => return Err(self.unexpected(byte, at)),
        };
        self.wanted = false;
        if self.nest.depth() == 1 {
            self.wanted = self.facts.value_begins(byte);
        } else if self.nest.depth() == 2 {
            self.facts.element_begins();
        }
        match state {
            State::First => self.open(byte == b'{')?,
            State::Text => self.key = false,
            State::Word if byte == b't' => self.word = b"rue",
            State::Word if byte == b'f' => self.word = b"alse",
            State::Word => self.word = b"ull",
            _ if self.wanted => self.facts.digit(byte),
            _ => {}
        }
        if state != State::First {
            self.state = state;
        }
        Ok(at + 1)
    }

    fn open(&mut self, object: bool) -> Result<(), BodyError> {
        self.nest.open(object)?;
        self.state = if object { State::FirstKey } else { State::First };
        Ok(())
    }

    fn close(&mut self) {
        self.nest.close();
        self.state = if self.nest.depth() == 0 { State::Done } else { State::Next };
    }

    /// The rest of a string, up to its quote, a backslash or the end of the text.
    fn text(&mut self, text: &str, start: usize) -> Result<usize, BodyError> {
        let at = run::plain(text.as_bytes(), start);
        if self.wanted {
            self.facts.text().push_plain(text.get(start..at).unwrap_or_default());
        }
        match text.as_bytes().get(at) {
            None => return Ok(at),
            Some(b'"') => {
                self.state = if self.key { State::Colon } else { State::Next };
                match (self.wanted, self.key) {
                    (false, _) => {}
                    (true, true) => self.facts.key_ends(),
                    (true, false) => self.facts.text_ends(),
                }
            }
            Some(b'\\') => self.state = State::Escape,
            Some(byte) => return Err(self.unexpected(*byte, at)),
        }
        Ok(at + 1)
    }

    /// The byte after a backslash.
    fn escape(&mut self, byte: u8, at: usize) -> Result<usize, BodyError> {
        let unit = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                self.hex = 0;
                self.hex_digits = 0;
                self.state = State::Hex;
                return Ok(at + 1);
            }
            _ => return Err(self.unexpected(byte, at)),
        };
        self.unit(u16::from(unit));
        Ok(at + 1)
    }

    /// A digit of `\uXXXX`. Any four will do: half of a surrogate pair is good JSON.
    fn hex(&mut self, byte: u8, at: usize) -> Result<usize, BodyError> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => return Err(self.unexpected(byte, at)),
        };
        self.hex = self.hex << 4 | u16::from(digit);
        self.hex_digits += 1;
        if self.hex_digits == 4 {
            self.unit(self.hex);
        }
        Ok(at + 1)
    }

    fn unit(&mut self, unit: u16) {
        self.state = State::Text;
        if self.wanted {
            self.facts.text().push_unit(unit);
        }
    }

    fn word(&mut self, byte: u8, at: usize) -> Result<usize, BodyError> {
        match self.word.split_first() {
            Some((expected, rest)) if *expected == byte => {
                self.word = rest;
                if rest.is_empty() {
                    self.state = State::Next;
                }
                Ok(at + 1)
            }
            _ => Err(self.unexpected(byte, at)),
        }
    }

    /// The rest of a number; the byte after it is not taken.
    fn number(&mut self, bytes: &[u8], start: usize) -> Result<usize, BodyError> {
        let mut at = start;
        while let Some(&byte) = bytes.get(at) {
            self.state = match (self.state, byte) {
                (State::Digits, b'0'..=b'9') | (State::Minus, b'1'..=b'9') => State::Digits,
                (State::Minus, b'0') => State::Zero,
                (State::Zero | State::Digits, b'.') => State::Point,
                (State::Point | State::Fraction, b'0'..=b'9') => State::Fraction,
                (State::Zero | State::Digits | State::Fraction, b'e' | b'E') => State::Exponent,
                (State::Exponent, b'+' | b'-') => State::ExponentSign,
                (State::Exponent | State::ExponentSign | State::ExponentDigits, b'0'..=b'9') => State::ExponentDigits,
                (State::Zero | State::Digits | State::Fraction | State::ExponentDigits, _) => {
                    self.state = State::Next;
                    return Ok(at);
                }
                _ => return Err(self.unexpected(byte, at)),
            };
            if self.wanted {
                self.facts.digit(byte);
            }
            at += 1;
        }
        Ok(at)
    }

    #[cold]
    fn unexpected(&self, byte: u8, at: usize) -> BodyError {
        let found = match byte {
            b'0'..=b'9' => "a digit",
            b'a'..=b'z' | b'A'..=b'Z' => "a letter",
            b' ' => "a space",
            b'\t' | b'\n' | b'\r' => "a tab or a line break",
            0..0x20 | 0x7F => "a control character",
            0x80.. => "a character outside ASCII (or a byte order mark)",
            b'"' | b'\'' | b'`' => "a quote",
            b'{' | b'}' | b'[' | b']' => "a bracket",
            _ => "a punctuation mark",
        };
        BodyError::NotJson { offset: self.offset + at as u64, found }
    }
}
