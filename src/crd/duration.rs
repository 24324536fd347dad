//! Durations as Kubernetes writes them (`72h`, `1h30m`), to `std::time::Duration`. The CEL rule of the duration fields
//! admits what this parses and nothing else; a test runs both over the same strings.

use std::time::Duration;

/// The longest duration text: four units of five digits.
pub(crate) const MAX_DURATION: usize = 28;
const MAX_UNITS: usize = 4;
const MAX_DIGITS: usize = 5;

/// Why a text is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not numbers with known units, or too many of them.
    #[error(
        "write a duration such as 72h, 1h30m or 45s: one to four numbers of at most five digits, each with h, m, s or ms; there is no unit for days, 30 days are 720h"
    )]
    Form,
    /// No time at all.
    #[error("write a duration above zero, or leave the field out")]
    Zero,
}

/// The time that a duration stands for: one to four whole numbers of at most five digits, each with `h`, `m`, `s` or
/// `ms`. This is the duration of the Gateway API (its GEP-2257), a subset of what Go and Kubernetes parse: no sign, no
/// fraction, nothing below a millisecond. There is no `d`, as Go has none: a day is not always 24 hours.
///
/// ```
/// use std::time::Duration;
/// use tofustate::crd::parse_duration;
/// assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
/// ```
///
/// # Errors
/// What is wrong with the text, and what to write.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let mut rest = text;
    let mut millis: u64 = 0;
    for units in 0.. {
        if rest.is_empty() && units > 0 {
            break;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if units == MAX_UNITS || digits == 0 || digits > MAX_DIGITS {
            return Err(DurationError::Form);
        }
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(|b| !b.is_ascii_digit()).count();
        // Not a character's boundary only where the unit is not one of ours.
        let (unit, next) = after.split_at_checked(letters).ok_or(DurationError::Form)?;
        let unit = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return Err(DurationError::Form),
        };
        millis += number.parse::<u64>().map_err(|_| DurationError::Form)? * unit;
        rest = next;
    }
    if millis == 0 { Err(DurationError::Zero) } else { Ok(Duration::from_millis(millis)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, secs) in
            [("72h", 259_200), ("1h30m", 5_400), ("720h0m0s", 2_592_000), ("45s", 45), ("90m", 5_400), ("5m1h", 3_900)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(secs)), "{text}");
        }
        assert_eq!(parse_duration("1s500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("99999h99999h99999h99999h"), Ok(Duration::from_secs(4 * 99_999 * 3600)));
    }

    #[test]
    fn refuses_the_rest_and_says_what_to_write() {
        for text in [
            "",
            "h",
            "1",
            "30d",
            "1w",
            "1.5h",
            "-1h",
            "+1h",
            "1h 30m",
            "1H",
            "1hm",
            "1us",
            "100000h",
            "1h1h1h1h1h",
            "1µs",
            "1m5",
            "1ä",
            "1h\n",
            "١h",
        ] {
            assert_eq!(parse_duration(text), Err(DurationError::Form), "{text:?}");
        }
        for text in ["0s", "0h0m", "00000ms"] {
            assert_eq!(parse_duration(text), Err(DurationError::Zero), "{text:?}");
        }
        assert!(DurationError::Form.to_string().contains("720h"));
    }
}
