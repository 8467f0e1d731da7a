//! Go's RE2 syntax on Rust's `regex`, fully anchored, and what a matcher can know without running it.
//!
//! A query's matchers are made anew for each query, so what is not needed is not made: an expression is checked when it is
//! made, its shape is found when it is first asked for, and the engine is built when a text has to be run through it, which
//! is never for plain ones (see `plain`).

mod plain;
mod shape;
mod translate;

use plain::{Plain, plain};
use shape::{Exact, Shape};
use std::fmt;
use std::sync::OnceLock;
use translate::{Translated, translate};

/// The text is not a regular expression; the message is Go's where we know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegexError(pub String);

impl fmt::Display for RegexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for RegexError {}

/// Groups within groups beyond this are refused; keeps the engine's own recursion shallow.
const DEPTH_MAX: usize = 120;
/// What the engine's parser has to accept: a level of ours is a group, a repetition in a group of its own, and the branches
/// and the sequence in it.
const NESTING_MAX: u32 = 8 * DEPTH_MAX as u32;
/// What the engine may make of one expression, in bytes.
const PROGRAM_BYTES_MAX: usize = 64 << 20;
/// Up to so many bytes of pattern, repeats written out, the engine stays within [`PROGRAM_BYTES_MAX`] whatever they are: it
/// makes 17 kB of a byte at most (a third of `\PC`). A larger one is built at once to know whether it does.
const SURE_BYTES_MAX: u64 = 2048;

/// A regular expression that has to match the whole text; `.` matches a newline too (`^(?s:…)$`).
#[derive(Clone)]
pub struct AnchoredRegex {
    source: Source,
    shape: OnceLock<Shape>,
    /// `None` inside if it could not be built, which nothing matches; [`Self::new`] refuses what that can happen to.
    engine: OnceLock<Option<Engine>>,
}

/// Go's text.
#[derive(Clone, Debug)]
enum Source {
    Bare(String),
    /// With the anchors in it.
    Wrapped(String),
}

#[derive(Clone, Debug)]
struct Engine {
    regex: regex::Regex,
    /// By group, empty if unnamed. The engine sees no names, as Go lets several groups share one.
    names: Vec<String>,
}

impl AnchoredRegex {
    /// As in a matcher: the pattern has to be complete by itself.
    ///
    /// # Errors
    /// When `pattern` is not RE2 syntax, or so large that the engine refuses it.
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        match plain(pattern) {
            Some(Plain::Known(shape)) => Ok(Self::unbuilt(Source::Bare(pattern.to_owned()), Some(shape))),
            Some(Plain::Valid) if pattern.len() as u64 <= SURE_BYTES_MAX => Ok(Self::unbuilt(Source::Bare(pattern.to_owned()), None)),
            Some(Plain::Valid) | None => Self::checked(Source::Bare(pattern.to_owned())),
        }
    }

    /// As Prometheus compiles the expressions of relabel rules and `label_replace`: the pattern is
    /// put into `^(?s:…)$` as text, so messages show it wrapped.
    ///
    /// # Errors
    /// When it is not RE2 syntax, or so large that the engine refuses it.
    pub fn new_wrapped(pattern: &str) -> Result<Self, RegexError> {
        Self::checked(Source::Wrapped(format!("^(?s:{pattern})$")))
    }

    fn unbuilt(source: Source, shape: Option<Shape>) -> Self {
        Self { source, shape: shape.map_or_else(OnceLock::new, OnceLock::from), engine: OnceLock::new() }
    }

    fn checked(source: Source) -> Result<Self, RegexError> {
        let translated = source.translated()?;
        let written_out = source.text().len() as u64 * u64::from(translated.repeats);
        let regex = Self::unbuilt(source, None);
        if written_out > SURE_BYTES_MAX && regex.engine().is_none() {
            return Err(translate::error("expression too large", regex.source.text()));
        }
        Ok(regex)
    }

    /// Group 0 is the whole of `text`; `None` if it does not match. Its groups have no names: [`expand`] knows them.
    pub fn captures<'t>(&self, text: &'t str) -> Option<regex::Captures<'t>> {
        self.engine()?.regex.captures(text)
    }

    /// Does the whole of `text` match?
    pub fn matches(&self, text: &str) -> bool {
        let shape = self.shape();
        match shape.exact {
            Some(Exact::Literals) => {
                let literals = shape.literals.as_deref().unwrap_or_default();
                literals.binary_search_by(|literal| literal.as_str().cmp(text)).is_ok()
            }
            Some(Exact::Affixes { between_min }) => {
                text.len() >= shape.prefix.len() + shape.suffix.len() + between_min
                    && text.starts_with(&shape.prefix)
                    && text.ends_with(&shape.suffix)
            }
            Some(Exact::Contains { before_min, after_min }) => holds(text, &shape.contains, before_min, after_min),
            None => text.starts_with(&shape.prefix) && text.ends_with(&shape.suffix) && self.runs_through(text),
        }
    }

    fn runs_through(&self, text: &str) -> bool {
        self.engine().is_some_and(|engine| engine.regex.is_match(text))
    }

    fn shape(&self) -> &Shape {
        self.shape.get_or_init(|| {
            let hir = self.source.translated().ok().and_then(|translated| parser().parse(&translated.pattern).ok());
            hir.as_ref().map(shape::shape).unwrap_or_default()
        })
    }

    fn engine(&self) -> Option<&Engine> {
        let build = || {
            let Translated { pattern, names, .. } = self.source.translated().ok()?;
            let mut builder = regex::RegexBuilder::new(&pattern);
            let regex = builder.nest_limit(NESTING_MAX).size_limit(PROGRAM_BYTES_MAX).build().ok()?;
            Some(Engine { regex, names })
        };
        self.engine.get_or_init(build).as_ref()
    }

    /// All texts that match, if they are few and known (`a|b|c[12]`); sorted, each once.
    pub fn literals(&self) -> Option<&[String]> {
        self.shape().literals.as_deref()
    }

    /// A text that every match starts with; empty if none is known.
    pub fn prefix(&self) -> &str {
        &self.shape().prefix
    }

    /// A text that every match ends with; empty if none is known.
    pub fn suffix(&self) -> &str {
        &self.shape().suffix
    }

    /// A text that every match holds, where neither [`Self::prefix`] nor [`Self::suffix`] is known;
    /// empty if none is.
    pub fn contains(&self) -> &str {
        &self.shape().contains
    }
}

impl Source {
    fn text(&self) -> &str {
        match self {
            Self::Bare(text) | Self::Wrapped(text) => text,
        }
    }

    /// Anchored.
    fn translated(&self) -> Result<Translated, RegexError> {
        match self {
            Self::Bare(text) => {
                let translated = translate(text, true)?;
                Ok(Translated { pattern: format!("^(?:{})$", translated.pattern), ..translated })
            }
            Self::Wrapped(text) => translate(text, false),
        }
    }
}

/// As the engine's own.
fn parser() -> regex_syntax::Parser {
    regex_syntax::ParserBuilder::new().nest_limit(NESTING_MAX).build()
}

/// Only the text: what has been built so far is no part of what it is, and debug forms are compared.
impl fmt::Debug for AnchoredRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnchoredRegex").field(&self.source).finish()
    }
}

impl fmt::Display for AnchoredRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.source.text())
    }
}

/// Is `part` in `text` with at least so many characters before and after it (0 or 1 each)?
fn holds(text: &str, part: &str, before_min: usize, after_min: usize) -> bool {
    let first_len = text.chars().next().map_or(0, char::len_utf8);
    let last_len = text.chars().next_back().map_or(0, char::len_utf8);
    let start = if before_min == 0 { 0 } else { first_len };
    let end = if after_min == 0 { text.len() } else { text.len() - last_len };
    text.len() >= part.len() + before_min + after_min && text.get(start..end).is_some_and(|inner| inner.contains(part))
}

/// Fills `captures` of `regex` into `template` by Go's rules: `$1`, `${1}`, `$name`, `${name}`, `$$`;
/// a name is as long as possible (`$1x` is the group `1x`), an unknown or unmatched group is empty,
/// and a `$` that starts none of these stands for itself.
pub fn expand(regex: &AnchoredRegex, template: &str, captures: &regex::Captures<'_>) -> String {
    let mut out = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = template_name(rest) {
            out.push_str(group(regex, captures, name));
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// The group's name after a `$`, and what follows it.
fn template_name(text: &str) -> Option<(&str, &str)> {
    let (braced, text) = text.strip_prefix('{').map_or((false, text), |text| (true, text));
    let end = text.find(|c: char| !(c == '_' || c.is_ascii_digit() || c.is_alphabetic())).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let rest = if braced { rest.strip_prefix('}')? } else { rest };
    (!name.is_empty()).then_some((name, rest))
}

/// Go allows several groups of one name: the first that took part counts.
fn group<'t>(regex: &AnchoredRegex, captures: &regex::Captures<'t>, name: &str) -> &'t str {
    let is_number = name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    let found = if is_number {
        name.parse().ok().and_then(|index| captures.get(index))
    } else {
        let names = regex.engine().map_or(&[][..], |engine| &engine.names);
        let mut named = names.iter().enumerate().filter(|(_, n)| *n == name);
        named.find_map(|(index, _)| captures.get(index))
    };
    found.map_or("", |found| found.as_str())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], other: &[&str]) {
        for regex in [AnchoredRegex::new(pattern).unwrap(), AnchoredRegex::new_wrapped(pattern).unwrap()] {
            for text in matching {
                assert!(regex.matches(text), "{pattern} on {text:?}");
                assert!(regex.runs_through(text), "{pattern} on {text:?}");
            }
            for text in other {
                assert!(!regex.matches(text), "{pattern} on {text:?}");
                assert!(!regex.runs_through(text), "{pattern} on {text:?}");
            }
        }
    }

    #[test]
    fn go_syntax() {
        check("", &[""], &["a"]);
        check("a.c", &["abc", "a\nc", "aéc"], &["ac", "xabc", "abc\n"]);
        check(r"\Qa.b*\E+", &["a.b*", "a.b***"], &["axb"]);
        check("a{,2}", &["a{,2}"], &["a", "aa"]);
        check("a{", &["a{"], &["a"]);
        check("{", &["{"], &[""]);
        check("a{2}b{1,}c{0,1}", &["aab", "aabbc"], &["ab"]);
        check("[a[b]", &["a", "[", "b"], &["]"]);
        check("[a&&b]", &["a", "&", "b"], &["c"]);
    }

    #[test]
    fn go_classes() {
        check("[]a]+", &["]", "a]"], &["b"]);
        check("[^]a]", &["b", "\n"], &["]"]);
        check("[a-]", &["a", "-"], &["b"]);
        check(r"[\d\-x]", &["1", "-", "x"], &["٣"]);
        check(r"\d+", &["12"], &["٣"]);
        check(r"\w\W\S\s\D", &["aéb x"], &["éaa a"]);
        check(r"\s", &["\t"], &["\u{b}", "\u{a0}"]);
        check("[[:alpha:][:^word:]]", &["a", "-"], &["1", "_"]);
        check(r"\pL\p{Greek}\P{Greek}[\p{^L}]", &["aαa1"], &["1αa1", "aαaa"]);
        check(r"\x41\x{1F600}\101\07\a", &["A\u{1f600}A\u{7}\u{7}"], &["A"]);
        check(r"\_\-\/", &["_-/"], &[]);
        check(r".*\bfoo\b.*", &["a foo b", "éfoo"], &["afoo"]);
        check(r"a\Bb", &["ab"], &["a"]);
    }

    #[test]
    fn go_flags_and_groups() {
        check("(?i)abc", &["ABC", "aBc"], &["abd"]);
        check("(?i:a)b", &["Ab"], &["AB"]);
        check("a(?i)b|c", &["aB", "C"], &["A"]);
        check("(?-s).", &["a"], &["\n"]);
        check("(?-s:.)(?s).", &["a\n"], &["\na"]);
        check("(?U)a+", &["aaa"], &[]);
        check("(?ii)a(?)b", &["ab", "AB"], &[]);
        check("a(?i)*", &["aaa"], &["A"]);
        check("(?P<x>a)(?<x>b)", &["ab"], &[]);
        check("(?m)^a$", &["a"], &["a\nb"]);
        check("$*bar", &["bar"], &["foo-bar"]);
        check("(a|b)*?c", &["abc", "c"], &["d"]);
    }

    #[track_caller]
    fn check_error(pattern: &str, want: &str) {
        assert_eq!(AnchoredRegex::new(pattern).unwrap_err().0, format!("error parsing regexp: {want}"));
    }

    #[test]
    fn go_messages() {
        check_error("a**", "invalid nested repetition operator: `**`");
        check_error("a{2}{3}", "invalid nested repetition operator: `{2}{3}`");
        check_error("*a", "missing argument to repetition operator: `*`");
        check_error("(|*)", "missing argument to repetition operator: `*`");
        check_error("(a", "missing closing ): `(a`");
        check_error("a)", "unexpected ): `a)`");
        check_error("[a", "missing closing ]: `[a`");
        check_error("[z-a]", "invalid character class range: `z-a`");
        check_error("[[:foo:]]", "invalid character class range: `[:foo:]`");
        check_error(r"\p{Nope}", r"invalid character class range: `\p{Nope}`");
        check_error(r"\1", r"invalid escape sequence: `\1`");
        check_error(r"\C", r"invalid escape sequence: `\C`");
        check_error(r"\Z", r"invalid escape sequence: `\Z`");
        check_error(r"\y", r"invalid escape sequence: `\y`");
        check_error(r"a\", "trailing backslash at end of expression: ``");
        check_error("a{1001}", "invalid repeat count: `{1001}`");
        check_error("a{2,1}", "invalid repeat count: `{2,1}`");
        check_error("(a{100}){100}", "invalid repeat count: `{100}`");
        check_error("(?=a)", "invalid or unsupported Perl syntax: `(?=`");
        check_error("(?i-)", "invalid or unsupported Perl syntax: `(?i-)`");
        check_error("(?P<a b>c)", "invalid named capture: `(?P<a b>`");
        assert_eq!(AnchoredRegex::new_wrapped("(a").unwrap_err().0, "error parsing regexp: missing closing ): `^(?s:(a)$`");
    }

    #[test]
    fn depth_is_bounded() {
        let deep = |depth: usize| format!("{}a{}", "(".repeat(depth), ")*".repeat(depth));
        assert!(AnchoredRegex::new(&deep(DEPTH_MAX)).is_ok());
        assert!(AnchoredRegex::new(&deep(100_000)).is_err());
    }

    #[test]
    fn what_is_plain_needs_no_engine() {
        for pattern in ["", "a", "a|b|c", r"a\.b|c", "foo.*", ".+", ".*bar.*", ".+bar", "a.+b", &"a|".repeat(5_000)] {
            let regex = AnchoredRegex::new(pattern).unwrap();
            assert!(matches!(plain(pattern), Some(Plain::Known(_))), "{pattern}");
            for text in ["", "a", "foo", "foobar", "xbarx"] {
                regex.matches(text);
            }
            assert!(regex.engine.get().is_none(), "{pattern}");
        }
    }

    #[test]
    fn the_engine_waits_for_the_first_text() {
        for regex in [AnchoredRegex::new("5..").unwrap(), AnchoredRegex::new_wrapped("(4|5)[0-9]+").unwrap()] {
            assert!(regex.engine.get().is_none(), "{regex}");
            let before = format!("{regex:?}");
            assert!(regex.matches("503"), "{regex}");
            assert!(regex.engine.get().is_some_and(Option::is_some), "{regex}");
            assert_eq!(format!("{regex:?}"), before);
        }
    }

    #[test]
    fn what_is_not_built_at_once_can_be_built() {
        let longest = SURE_BYTES_MAX as usize;
        for item in [r"\PC", r"\pL", r"\PL", ".", "[^a]", "()", "(a)"] {
            let pattern = item.repeat(longest / item.len());
            let regex = AnchoredRegex::new(&pattern).unwrap();
            assert!(regex.engine.get().is_none() && regex.engine().is_some(), "{item}");
        }
        let repeated = format!(r"\PC{{{}}}", longest / r"\PC{100}".len());
        assert!(AnchoredRegex::new(&repeated).unwrap().engine().is_some());
    }

    #[test]
    fn what_the_engine_refuses_is_refused_at_once() {
        let large = r"\PC{1000}".repeat(3);
        let error = |result: Result<AnchoredRegex, RegexError>| result.unwrap_err().0;
        assert_eq!(error(AnchoredRegex::new(&large)), format!("error parsing regexp: expression too large: `{large}`"));
        assert_eq!(error(AnchoredRegex::new_wrapped(&large)), format!("error parsing regexp: expression too large: `^(?s:{large})$`"));
        assert!(error(AnchoredRegex::new(&".".repeat(1 << 20))).contains("too large"));
    }

    #[test]
    fn shapes() {
        let of = |pattern: &str| AnchoredRegex::new(pattern).unwrap();
        let literals = |pattern: &str| of(pattern).literals().map(|all| all.join(","));
        assert_eq!(literals("b|a|c[12]"), Some("a,b,c1,c2".into()));
        assert_eq!(literals("(?i)ab"), Some("AB,Ab,aB,ab".into()));
        assert_eq!(literals("x?(y|z){2}"), Some("xyy,xyz,xzy,xzz,yy,yz,zy,zz".into()));
        assert_eq!(literals("a|"), Some(",a".into()));
        assert_eq!(literals("a.*"), None);
        assert_eq!(literals(r"a\b"), None);
        assert_eq!(literals("[a-z]{2}"), None);
        let affixes = |pattern: &str| (of(pattern).prefix().to_owned(), of(pattern).suffix().to_owned());
        assert_eq!(affixes("ab.*cd"), ("ab".into(), "cd".into()));
        assert_eq!(affixes("(abx|aby).+"), ("ab".into(), String::new()));
        assert_eq!(affixes("a(bc)+d?"), ("abc".into(), String::new()));
        assert_eq!(affixes(".*(é|è)x"), (String::new(), "x".into()));
        assert_eq!(of(".*foo.*").contains(), "foo");
        assert_eq!(of(".*foo.*[0-9]").contains(), "foo");
    }

    #[test]
    fn templates() {
        let regex = AnchoredRegex::new("(?P<n>a)(b)?(?P<n>c)").unwrap();
        let captures = regex.captures("ac").unwrap();
        for (template, want) in [
            ("$1", "a"),
            ("${1}x", "ax"),
            ("$1x", ""),
            ("$1_x", ""),
            ("$0-$2-$9", "ac--"),
            ("$n${n}", "aa"),
            ("$$1", "$1"),
            ("$", "$"),
            ("a$-b", "a$-b"),
            ("${", "${"),
            ("${1", "${1"),
            ("${}", "${}"),
            ("$01", ""),
        ] {
            assert_eq!(expand(&regex, template, &captures), want, "{template}");
        }
    }

    fn pattern() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "[abé]{0,3}",
            Just(".*".to_owned()),
            Just(".+".to_owned()),
            Just("[ab]".to_owned()),
            Just("(?i:a)".to_owned()),
            Just(r"\b".to_owned()),
            Just("[^a]".to_owned()),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 1..4).prop_map(|all| all.concat()),
                proptest::collection::vec(inner.clone(), 2..4).prop_map(|all| format!("({})", all.join("|"))),
                (inner, "[*+?]|[{][0-2],3[}]").prop_map(|(inner, operator)| format!("({inner}){operator}")),
            ]
        })
    }

    proptest! {
        #[test]
        fn fast_paths_agree_with_the_engine(pattern in pattern(), texts in proptest::collection::vec("[abAé\n]{0,5}", 1..20)) {
            let regex = AnchoredRegex::new(&pattern).unwrap();
            for text in &texts {
                let want = regex.runs_through(text);
                prop_assert_eq!(regex.matches(text), want, "{} on {:?}", pattern, text);
                if want {
                    prop_assert!(text.starts_with(regex.prefix()) && text.ends_with(regex.suffix()) && text.contains(regex.contains()));
                    prop_assert!(regex.literals().is_none_or(|all| all.contains(text)));
                }
            }
            for literal in regex.literals().unwrap_or_default() {
                prop_assert!(regex.runs_through(literal), "{} on {:?}", pattern, literal);
            }
        }

        #[test]
        fn the_first_look_agrees_with_the_parser(pattern in r"(a|b|é|\\[.+|]|\.|\.\*|\.\+|\|){0,6}") {
            let regex = AnchoredRegex::checked(Source::Bare(pattern.clone())).unwrap();
            match plain(&pattern) {
                Some(Plain::Known(shape)) => {
                    prop_assert_eq!(&shape, regex.shape());
                    prop_assert!(regex.engine().is_some());
                }
                Some(Plain::Valid) => prop_assert!(regex.engine().is_some()),
                None => prop_assert!(false, "{} is plain", pattern),
            }
        }

        #[test]
        fn what_is_plain_is_no_fault(pattern in r"[\\\[\](){}^$|?*+.\-ab1é]{0,8}") {
            if plain(&pattern).is_some() {
                prop_assert!(AnchoredRegex::checked(Source::Bare(pattern)).unwrap().engine().is_some());
            }
        }

        #[test]
        fn any_text_compiles_or_is_refused_as_such(pattern in r"[\\\[\](){}^$|?*+.,:<>P\-a-z0-9&é]{0,16}") {
            match AnchoredRegex::new(&pattern) {
                Ok(regex) => prop_assert!(regex.engine().is_some()),
                Err(error) => prop_assert!(!error.0.contains("too large"), "{}", error),
            }
        }
    }
}
