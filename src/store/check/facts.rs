//! What the top level of a body says: told of keys and values as they come, it keeps those that count. No grammar.

use super::{BodyError, MAX_TEXT, StateFacts, text::Text};

/// One character more than the longest key that counts, so that a longer key is known to be another.
const MAX_KEY: usize = "encryption_version".len() + 1;

/// The top-level keys that count.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Field {
    #[default]
    Other,
    Serial,
    Lineage,
    ToolVersion,
    Resources,
}

/// The last value of `serial`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Serial {
    #[default]
    Absent,
    /// As far as its digits have come.
    Is(u64),
    Bad,
}

/// The facts as far as they are known.
#[derive(Default)]
pub(super) struct Facts {
    /// The key whose value comes.
    field: Field,
    text: Text,
    serial: Serial,
    lineage: Option<String>,
    tool_version: Option<String>,
    resources: Option<u64>,
    encrypted_data: bool,
    encryption_version: bool,
}

impl Facts {
    /// A key of the top level begins.
    pub(super) fn key_begins(&mut self) {
        self.text.begin(MAX_KEY);
    }

    /// It has ended.
    pub(super) fn key_ends(&mut self) {
        self.field = match self.text.end() {
            "serial" => Field::Serial,
            "lineage" => Field::Lineage,
            "terraform_version" => Field::ToolVersion,
            "resources" => Field::Resources,
            "encrypted_data" => {
                self.encrypted_data = true;
                Field::Other
            }
            "encryption_version" => {
                self.encryption_version = true;
                Field::Other
            }
            _ => Field::Other,
        };
    }

    /// A value of the top level begins, with this byte. What an earlier value of the same key was is forgotten. Returns
    /// whether this value is a string to capture or a number to read.
    pub(super) fn value_begins(&mut self, first: u8) -> bool {
        match self.field {
            Field::Other => false,
            Field::Serial => {
                let number = first.is_ascii_digit();
                self.serial = if number { Serial::Is(0) } else { Serial::Bad };
                number
            }
            Field::Lineage => {
                self.lineage = None;
                self.text_begins(first)
            }
            Field::ToolVersion => {
                self.tool_version = None;
                self.text_begins(first)
            }
            Field::Resources => {
                self.resources = (first == b'[').then_some(0);
                false
            }
        }
    }

    /// A value directly inside one of the top level begins: an element, if that is the array that is counted.
    pub(super) fn element_begins(&mut self) {
        if self.field == Field::Resources
            && let Some(resources) = &mut self.resources
        {
            *resources += 1;
        }
    }

    /// The string that is being captured.
    pub(super) fn text(&mut self) -> &mut Text {
        &mut self.text
    }

    /// The captured string was a value and has ended.
    pub(super) fn text_ends(&mut self) {
        let text = self.text.end().to_owned();
        match self.field {
            Field::Lineage => self.lineage = Some(text),
            Field::ToolVersion => self.tool_version = Some(text),
            Field::Serial | Field::Resources | Field::Other => {}
        }
    }

    /// A byte of the number that is being read; a fraction or an exponent makes it a bad one.
    pub(super) fn digit(&mut self, byte: u8) {
        let Serial::Is(before) = self.serial else { return };
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
        let now = digit.and_then(|digit| before.checked_mul(10)?.checked_add(digit));
        self.serial = now.map_or(Serial::Bad, Serial::Is);
    }

    /// The object has ended.
    pub(super) fn finish(self) -> Result<StateFacts, BodyError> {
        let serial = match self.serial {
            Serial::Is(serial) => serial,
            Serial::Absent => return Err(BodyError::NoSerial),
            Serial::Bad => return Err(BodyError::BadSerial),
        };
        Ok(StateFacts {
            serial,
            lineage: self.lineage,
            tool_version: self.tool_version,
            resources: self.resources,
            encrypted: self.encrypted_data && self.encryption_version,
        })
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        let capacity = |s: &Option<String>| s.as_ref().map_or(0, String::capacity);
        self.text.heap_bytes() + capacity(&self.lineage) + capacity(&self.tool_version)
    }

    fn text_begins(&mut self, first: u8) -> bool {
        self.text.begin(MAX_TEXT);
        first == b'"'
    }
}
