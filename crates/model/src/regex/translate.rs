//! Go's regular expressions, written again for Rust's `regex`, and refused with Go's messages.
//!
//! The two languages share their semantics (leftmost first, linear time), but not all of their
//! syntax: Go knows `\Q…\E` and octal escapes, takes `{,2}` and a lone `{` literally, has no set
//! operations in classes, means ASCII by `\d`, `\w`, `\s`, `\b`, allows two groups of one name, and
//! refuses `a**`. This reads Go's syntax as Go does and writes each item in a form that means the same
//! there; groups are written without their names, which are returned beside.

use super::RegexError;
use std::fmt::Write;

/// The largest repeat count, also of nested repeats multiplied.
const REPEAT_MAX: u32 = 1000;

/// A pattern for `regex`.
pub(super) struct Translated {
    pub pattern: String,
    /// Of the groups, group 0 first; empty if unnamed.
    pub names: Vec<String>,
    /// The largest product of repeat counts, one within the other; at least 1. No part of the pattern is needed more often.
    pub repeats: u32,
}

/// `dot_all`: whether `.` matches a newline where no flag says otherwise.
pub(super) fn translate(go: &str, dot_all: bool) -> Result<Translated, RegexError> {
    let flags = Flags { dot_all, ..Flags::default() };
    let names = vec![String::new()];
    let mut translator = Translator { whole: go, rest: go, out: String::new(), names, flags, groups: Vec::new(), atom: None, repeats: 0 };
    if dot_all {
        translator.out.push_str("(?s)");
    }
    translator.run()?;
    Ok(Translated { pattern: translator.out, names: translator.names, repeats: translator.repeats.max(1) })
}

pub(super) fn error(kind: &str, at: &str) -> RegexError {
    RegexError(format!("error parsing regexp: {kind}: `{at}`"))
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Flags {
    ignore_case: bool,
    multi_line: bool,
    dot_all: bool,
    swap_greed: bool,
}

/// What a repetition operator applies to: the last item, as it stands in the output.
#[derive(Clone, Copy)]
struct Atom {
    start: usize,
    end: usize,
    /// Product of the repeat counts nested in it.
    repeats: u32,
}

/// An open group.
struct Group {
    flags: Flags,
    start: usize,
    repeats: u32,
}

struct Translator<'a> {
    whole: &'a str,
    rest: &'a str,
    out: String,
    names: Vec<String>,
    flags: Flags,
    groups: Vec<Group>,
    atom: Option<Atom>,
    /// The largest [`Atom::repeats`] of the group so far.
    repeats: u32,
}

impl<'a> Translator<'a> {
    fn run(&mut self) -> Result<(), RegexError> {
        // Text of the repetition just read: a second one directly after it is an error in Go.
        let mut last_repeat: Option<&'a str> = None;
        while let Some(first) = self.rest.chars().next() {
            let before = self.rest;
            let mut repeat = None;
            match first {
                '(' => self.open_group()?,
                ')' => self.close_group()?,
                '|' => {
                    self.skip(1);
                    self.out.push('|');
                    self.atom = None;
                }
                // Rust has no repetition of a bare assertion everywhere; in a group it has.
                '^' | '$' => {
                    self.skip(1);
                    self.emit(if first == '^' { "(?:^)" } else { "(?:$)" });
                }
                '.' => {
                    self.skip(1);
                    self.emit(".");
                }
                '[' => self.class()?,
                '*' | '+' | '?' => {
                    self.skip(1);
                    let (min, max) = match first {
                        '*' => (0, None),
                        '+' => (1, None),
                        _ => (0, Some(1)),
                    };
                    self.repeat(before, min, max, last_repeat)?;
                    repeat = Some(before);
                }
                '{' => match counted_repeat(self.rest) {
                    None => {
                        self.skip(1);
                        self.literal('{');
                    }
                    Some((min, max, after)) => {
                        let text = &before[..before.len() - after.len()];
                        self.rest = after;
                        let bad = || error("invalid repeat count", text);
                        let min = min.filter(|min| *min <= REPEAT_MAX).ok_or_else(bad)?;
                        let max = max.map(|max| max.filter(|max| (min..=REPEAT_MAX).contains(max)).ok_or_else(bad)).transpose()?;
                        self.repeat(before, min, max, last_repeat)?;
                        repeat = Some(before);
                    }
                },
                '\\' => self.escape()?,
                c => {
                    self.skip(c.len_utf8());
                    self.literal(c);
                }
            }
            last_repeat = repeat;
        }
        if self.groups.is_empty() { Ok(()) } else { Err(error("missing closing )", self.whole)) }
    }

    fn skip(&mut self, len: usize) {
        self.rest = &self.rest[len..];
    }

    /// Writes one item that a repetition may follow.
    fn emit(&mut self, item: &str) {
        let start = self.out.len();
        self.out.push_str(item);
        self.atom = Some(Atom { start, end: self.out.len(), repeats: 1 });
    }

    fn literal(&mut self, c: char) {
        let mut buffer = String::new();
        push_char(&mut buffer, c);
        self.emit(&buffer);
    }

    fn open_group(&mut self) -> Result<(), RegexError> {
        if !self.rest.starts_with("(?") {
            self.skip(1);
            return self.push_group("(", Some(String::new()), self.flags);
        }
        let named = ["(?P<", "(?<"].iter().find(|open| self.rest.starts_with(**open) && self.rest.len() > open.len());
        if let Some(open) = named {
            let end = self.rest.find('>').ok_or_else(|| error("invalid named capture", self.rest))?;
            let name = &self.rest[open.len()..end];
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(error("invalid named capture", &self.rest[..=end]));
            }
            self.skip(end + 1);
            return self.push_group("(", Some(name.to_owned()), self.flags);
        }
        self.flag_group()
    }

    /// `name` is `None` for a group that does not capture.
    fn push_group(&mut self, open: &str, name: Option<String>, flags: Flags) -> Result<(), RegexError> {
        // Go's own limit of depth; ours is also what `regex` is told to accept.
        if self.groups.len() >= super::DEPTH_MAX {
            return Err(error("expression nests too deeply", self.whole));
        }
        self.names.extend(name);
        self.groups.push(Group { flags: self.flags, start: self.out.len(), repeats: self.repeats });
        self.out.push_str(open);
        self.flags = flags;
        self.repeats = 0;
        self.atom = None;
        Ok(())
    }

    fn close_group(&mut self) -> Result<(), RegexError> {
        let Some(group) = self.groups.pop() else {
            return Err(error("unexpected )", self.whole));
        };
        self.skip(1);
        self.out.push(')');
        self.flags = group.flags;
        let repeats = self.repeats.max(1);
        self.repeats = group.repeats.max(repeats);
        self.atom = Some(Atom { start: group.start, end: self.out.len(), repeats });
        Ok(())
    }

    /// `(?i-s)` changes the rest of the group, `(?i-s:…)` is a group.
    fn flag_group(&mut self) -> Result<(), RegexError> {
        let start = self.rest;
        let mut flags = self.flags;
        let (mut on, mut negated, mut seen) = (true, false, false);
        for (at, c) in start.char_indices().skip(2) {
            match c {
                'i' => flags.ignore_case = on,
                'm' => flags.multi_line = on,
                's' => flags.dot_all = on,
                'U' => flags.swap_greed = on,
                '-' if !negated => {
                    (on, negated, seen) = (false, true, false);
                    continue;
                }
                ':' | ')' if !negated || seen => {
                    self.skip(at + 1);
                    if c == ':' {
                        return self.push_group(&format!("(?{}:", flags.written()), None, flags);
                    }
                    if flags != self.flags {
                        self.flags = flags;
                        // What a repetition applies to is still the item before.
                        let _ = write!(self.out, "(?{})", flags.written());
                    }
                    return Ok(());
                }
                _ => return Err(error("invalid or unsupported Perl syntax", &start[..at + c.len_utf8()])),
            }
            seen = true;
        }
        Err(error("invalid or unsupported Perl syntax", start))
    }

    /// `before` is the pattern from the operator on; `self.rest` what follows the operator.
    fn repeat(&mut self, before: &'a str, min: u32, max: Option<u32>, last_repeat: Option<&'a str>) -> Result<(), RegexError> {
        let mut greedy = !self.flags.swap_greed;
        if self.rest.starts_with('?') {
            self.skip(1);
            greedy = !greedy;
        }
        let until_here = |from: &'a str| &from[..from.len() - self.rest.len()];
        if let Some(last) = last_repeat {
            return Err(error("invalid nested repetition operator", until_here(last)));
        }
        let Some(atom) = self.atom else {
            return Err(error("missing argument to repetition operator", until_here(before)));
        };
        let repeats = match max {
            Some(0) => 0,
            _ => atom.repeats.saturating_mul(max.unwrap_or(min).max(1)),
        };
        let is_counted = min >= 2 || max.is_some_and(|max| max >= 2);
        if is_counted && repeats > REPEAT_MAX {
            return Err(error("invalid repeat count", until_here(before)));
        }
        let mut operator = match (min, max) {
            (0, None) => "*".to_owned(),
            (1, None) => "+".to_owned(),
            (0, Some(1)) => "?".to_owned(),
            (min, None) => format!("{{{min},}}"),
            (min, Some(max)) if min == max => format!("{{{min}}}"),
            (min, Some(max)) => format!("{{{min},{max}}}"),
        };
        if !greedy {
            operator.push('?');
        }
        // In a group of its own: after a flag group comes an operator for what stands before it.
        self.out.insert_str(atom.end, &format!("{operator})"));
        self.out.insert_str(atom.start, "(?:");
        let end = atom.end + operator.len() + "(?:)".len();
        self.atom = Some(Atom { start: atom.start, end, repeats });
        self.repeats = self.repeats.max(repeats);
        Ok(())
    }

    fn escape(&mut self) -> Result<(), RegexError> {
        let item = match self.rest.as_bytes().get(1) {
            Some(b'A') => r"(?:\A)",
            Some(b'z') => r"(?:\z)",
            Some(b'b') => r"(?:(?-u:\b))",
            Some(b'B') => r"(?:(?-u:\B))",
            Some(b'C') => return Err(error("invalid escape sequence", r"\C")),
            Some(b'Q') => {
                let quoted = &self.rest[2..];
                let (text, after) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
                self.rest = after;
                text.chars().for_each(|c| self.literal(c));
                return Ok(());
            }
            _ => "",
        };
        if !item.is_empty() {
            self.skip(2);
            self.emit(item);
            return Ok(());
        }
        if let Some((class, after)) = class_escape(self.rest)? {
            self.rest = after;
            self.emit(&class);
            return Ok(());
        }
        let (c, after) = char_escape(self.rest)?;
        self.rest = after;
        self.literal(c);
        Ok(())
    }

    fn class(&mut self) -> Result<(), RegexError> {
        let whole = self.rest;
        let mut class = String::from("[");
        let mut rest = &whole[1..];
        if let Some(after) = rest.strip_prefix('^') {
            class.push('^');
            rest = after;
        }
        let mut first = true;
        while first || !rest.starts_with(']') {
            first = false;
            if let Some((named, after)) = named_class(rest)? {
                class.push_str(named);
                rest = after;
                continue;
            }
            if let Some((escaped, after)) = class_escape(rest)? {
                class.push_str(&escaped);
                rest = after;
                continue;
            }
            let range = rest;
            let low = class_char(&mut rest, whole)?;
            push_char(&mut class, low);
            if rest.starts_with('-') && rest.len() > 1 && !rest.starts_with("-]") {
                rest = &rest[1..];
                let high = class_char(&mut rest, whole)?;
                if high < low {
                    return Err(error("invalid character class range", &range[..range.len() - rest.len()]));
                }
                class.push('-');
                push_char(&mut class, high);
            }
        }
        class.push(']');
        self.rest = &rest[1..];
        self.emit(&class);
        Ok(())
    }
}

impl Flags {
    /// All of them, so that what was in force before does not matter. Greed is resolved here.
    fn written(self) -> String {
        let all = [('i', self.ignore_case), ('m', self.multi_line), ('s', self.dot_all)];
        let on: String = all.iter().filter(|(_, on)| *on).map(|(c, _)| c).collect();
        let off: String = all.iter().filter(|(_, on)| !*on).map(|(c, _)| c).collect();
        if off.is_empty() { on } else { format!("{on}-{off}") }
    }
}

/// `{2}`, `{2,}`, `{2,3}`; the numbers are `None` where too large to be read; else it is no repetition.
#[allow(clippy::type_complexity, reason = "used in one place")]
fn counted_repeat(text: &str) -> Option<(Option<u32>, Option<Option<u32>>, &str)> {
    let (min, rest) = repeat_number(text.strip_prefix('{')?)?;
    let (max, rest) = match rest.strip_prefix(',') {
        None => (Some(min), rest),
        Some(rest) if rest.starts_with('}') => (None, rest),
        Some(rest) => {
            let (max, rest) = repeat_number(rest)?;
            (Some(max), rest)
        }
    };
    Some((min, max, rest.strip_prefix('}')?))
}

fn repeat_number(text: &str) -> Option<(Option<u32>, &str)> {
    let len = text.bytes().take_while(u8::is_ascii_digit).count();
    if len == 0 || len > 1 && text.starts_with('0') {
        return None;
    }
    Some((text[..len].parse().ok(), &text[len..]))
}

/// `\d` and its kin (ASCII, and `\s` without the vertical tab), `\pL`, `\p{Greek}`.
fn class_escape(text: &str) -> Result<Option<(String, &str)>, RegexError> {
    let Some(kind) = text.strip_prefix('\\').and_then(|rest| rest.chars().next()) else {
        return Ok(None);
    };
    let class = match kind {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        's' => r"[\t\n\f\r ]",
        'S' => r"[^\t\n\f\r ]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        'p' | 'P' => return unicode_class(text).map(Some),
        _ => return Ok(None),
    };
    Ok(Some((class.to_owned(), &text[2..])))
}

fn unicode_class(text: &str) -> Result<(String, &str), RegexError> {
    let unknown = |class: &str| error("invalid character class range", class);
    let mut negated = text.starts_with(r"\P");
    let (name, class_len) = match text[2..].chars().next() {
        Some('{') => {
            let end = text.find('}').ok_or_else(|| unknown(text))?;
            (&text[3..end], end + 1)
        }
        Some(c) => (&text[2..2 + c.len_utf8()], 2 + c.len_utf8()),
        None => return Err(unknown(text)),
    };
    let (class, after) = text.split_at(class_len);
    let name = name.strip_prefix('^').map_or(name, |name| {
        negated = !negated;
        name
    });
    // Rust also knows properties by `name=value`, and names in words that Go does not.
    let looks_right = name.len() <= 2 || name.starts_with(|c: char| c.is_ascii_uppercase());
    let pattern = format!(r"\{}{{{name}}}", if negated { 'P' } else { 'p' });
    let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !is_plain || !looks_right || regex_syntax::parse(&pattern).is_err() {
        return Err(unknown(class));
    }
    Ok((pattern, after))
}

/// `[:alpha:]`, `[:^alpha:]` within a class.
fn named_class(text: &str) -> Result<Option<(&str, &str)>, RegexError> {
    let Some(end) = text.strip_prefix("[:").and_then(|rest| rest.find(":]")) else {
        return Ok(None);
    };
    let (class, after) = text.split_at(end + "[::]".len());
    let name = class[2..2 + end].trim_start_matches('^');
    let known =
        ["alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word", "xdigit"];
    if !known.contains(&name) || class.starts_with("[:^^") {
        return Err(error("invalid character class range", class));
    }
    Ok(Some((class, after)))
}

fn class_char(rest: &mut &str, whole: &str) -> Result<char, RegexError> {
    let Some(c) = rest.chars().next() else {
        return Err(error("missing closing ]", whole));
    };
    let (c, after) = if c == '\\' { char_escape(rest)? } else { (c, &rest[c.len_utf8()..]) };
    *rest = after;
    Ok(c)
}

/// One escaped character, `text` beginning with the backslash.
fn char_escape(text: &str) -> Result<(char, &str), RegexError> {
    let mut chars = text[1..].chars();
    let Some(kind) = chars.next() else {
        return Err(error("trailing backslash at end of expression", ""));
    };
    let is_octal = |c: &char| ('0'..='7').contains(c);
    let code = match kind {
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(c as u32),
        // A single digit but zero would be a back-reference.
        '0'..='7' if kind == '0' || chars.clone().next().is_some_and(|c| is_octal(&c)) => {
            let mut code = kind as u32 - '0' as u32;
            for _ in 0..2 {
                let Some(digit) = chars.clone().next().filter(is_octal) else { break };
                code = code * 8 + (digit as u32 - '0' as u32);
                chars.next();
            }
            Some(code)
        }
        'x' => hex_escape(&mut chars),
        'a' => Some(7),
        'f' => Some(12),
        'n' => Some(10),
        'r' => Some(13),
        't' => Some(9),
        'v' => Some(11),
        _ => None,
    };
    match code {
        // Text has no surrogates; Go sees the replacement character where bytes are none.
        Some(code) => Ok((char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), chars.as_str())),
        None => Err(error("invalid escape sequence", &text[..text.len() - chars.as_str().len()])),
    }
}

fn hex_escape(chars: &mut std::str::Chars<'_>) -> Option<u32> {
    let first = chars.next()?;
    if first != '{' {
        let high = first.to_digit(16);
        let low = chars.next()?.to_digit(16)?;
        return Some(high? * 16 + low);
    }
    let (mut code, mut digits) = (0u32, 0);
    loop {
        match chars.next()? {
            '}' => return (digits > 0).then_some(code),
            digit => code = code * 16 + digit.to_digit(16)?,
        }
        digits += 1;
        if code > char::MAX as u32 {
            return None;
        }
    }
}

/// One character that stands for itself, in a class as outside.
fn push_char(out: &mut String, c: char) {
    if c.is_ascii_alphanumeric() || !c.is_ascii() {
        out.push(c);
    } else {
        let _ = write!(out, r"\x{:02X}", c as u32);
    }
}
