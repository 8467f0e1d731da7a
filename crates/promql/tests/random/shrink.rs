//! Makes a failing case small: fewer series and samples, smaller expressions.

use crate::Case;
use promql::ast::{Expr, ValueType};
use std::sync::Arc;

/// A smaller case that still fails. `fails` is asked some hundreds of times at most.
pub(crate) fn shrunk(case: Case, fails: impl Fn(&Case) -> bool) -> Case {
    let mut shrinking = Shrinking { case, fails, left: 1500 };
    for _ in 0..4 {
        let before = shrinking.left;
        let any = [shrinking.expression(), shrinking.times(), shrinking.series(), shrinking.samples()];
        if !any.contains(&true) || before == 0 {
            break;
        }
    }
    shrinking.case
}

struct Shrinking<F> {
    case: Case,
    fails: F,
    left: usize,
}

impl<F: Fn(&Case) -> bool> Shrinking<F> {
    /// Takes the smaller case if it fails too.
    fn take(&mut self, smaller: Case) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        let fails = (self.fails)(&smaller);
        if fails {
            self.case = smaller;
        }
        fails
    }

    fn expression(&mut self) -> bool {
        let mut any = false;
        'again: loop {
            let Some(expr) = self.case.parsed() else { return any };
            let mut smaller: Vec<String> = replaced(&expr).iter().map(ToString::to_string).collect();
            smaller.sort_by_key(String::len);
            for text in smaller {
                let mut case = self.case.clone();
                if text.len() < case.query.text.len() {
                    case.query.text = text;
                    if case.parsed().is_some() && self.take(case) {
                        any = true;
                        continue 'again;
                    }
                }
            }
            return any;
        }
    }

    fn times(&mut self) -> bool {
        let mut any = false;
        while self.case.query.end - self.case.query.start >= self.case.query.step {
            let mut shorter = self.case.clone();
            shorter.query.end -= shorter.query.step;
            let mut later = self.case.clone();
            later.query.start += later.query.step;
            if !self.take(later) && !self.take(shorter) {
                break;
            }
            any = true;
        }
        for change in [
            |case: &mut Case| case.options.delayed_name_removal = false,
            |case: &mut Case| case.options.use_start_timestamps = false,
            |case: &mut Case| case.options.type_and_unit_labels = false,
        ] {
            let mut case = self.case.clone();
            change(&mut case);
            self.take(case);
        }
        any
    }

    fn series(&mut self) -> bool {
        let mut any = false;
        let mut size = self.case.store.series.len().div_ceil(2);
        while size > 0 {
            let all: Vec<_> = self.case.store.series.keys().cloned().collect();
            for some in all.chunks(size) {
                let mut case = self.case.clone();
                some.iter().for_each(|labels| drop(case.store.series.remove(labels)));
                any |= self.take(case);
            }
            size /= 2;
        }
        any
    }

    fn samples(&mut self) -> bool {
        let mut any = false;
        let all: Vec<_> = self.case.store.series.keys().cloned().collect();
        for labels in all {
            let mut size = self.case.store.series[&labels].len().div_ceil(2);
            while size > 0 {
                let mut at = 0;
                while at < self.case.store.series[&labels].len() {
                    let mut points = self.case.store.series[&labels].as_ref().clone();
                    points.drain(at..(at + size).min(points.len()));
                    let mut case = self.case.clone();
                    case.store.series.insert(labels.clone(), Arc::new(points));
                    if self.take(case) {
                        any = true;
                    } else {
                        at += size;
                    }
                }
                size /= 2;
            }
        }
        any
    }
}

/// The expression with one part replaced by a part of that part, or by a constant.
fn replaced(e: &Expr) -> Vec<Expr> {
    let mut found: Vec<Expr> = parts(e).into_iter().filter(|part| part.value_type() == e.value_type()).cloned().collect();
    match e {
        Expr::Number(_) | Expr::String(_) => {}
        Expr::Vector(s) => {
            let mut plain = s.clone();
            (plain.at, plain.extended) = (None, None);
            plain.matchers.retain(|m| m.name == "__name__");
            found.push(Expr::Vector(plain));
        }
        Expr::Matrix(m) => {
            let mut plain = m.clone();
            (plain.vector.at, plain.vector.extended) = (None, None);
            plain.vector.matchers.retain(|m| m.name == "__name__");
            found.push(Expr::Matrix(plain));
        }
        Expr::Subquery(s) => {
            with(&s.expr, &mut found, |expr| Expr::Subquery(Box::new(promql::ast::Subquery { expr, ..s.as_ref().clone() })))
        }
        Expr::Call(c) => {
            for (i, argument) in c.args.iter().enumerate() {
                with(argument, &mut found, |expr| {
                    let mut call = c.clone();
                    call.args[i] = expr;
                    Expr::Call(call)
                });
            }
        }
        Expr::Aggregate(a) => {
            with(&a.expr, &mut found, |expr| Expr::Aggregate(Box::new(promql::ast::Aggregate { expr, ..a.as_ref().clone() })));
            for i in 0..a.grouping.len() {
                let mut fewer = a.as_ref().clone();
                fewer.grouping.remove(i);
                found.push(Expr::Aggregate(Box::new(fewer)));
            }
            if let Some(parameter) = &a.parameter {
                with(parameter, &mut found, |expr| {
                    Expr::Aggregate(Box::new(promql::ast::Aggregate { parameter: Some(expr), ..a.as_ref().clone() }))
                });
            }
        }
        Expr::Binary(b) => {
            with(&b.left, &mut found, |left| Expr::Binary(Box::new(promql::ast::Binary { left, ..b.as_ref().clone() })));
            with(&b.right, &mut found, |right| Expr::Binary(Box::new(promql::ast::Binary { right, ..b.as_ref().clone() })));
        }
        Expr::Unary(u) => with(&u.expr, &mut found, |expr| Expr::Unary(Box::new(promql::ast::Unary { expr, ..u.as_ref().clone() }))),
        Expr::Paren(p) => {
            found.push(p.expr.clone());
            with(&p.expr, &mut found, |expr| Expr::Paren(Box::new(promql::ast::Paren { expr, ..p.as_ref().clone() })));
        }
    }
    found
}

/// Replacements of a part, built into the whole.
fn with(part: &Expr, found: &mut Vec<Expr>, whole: impl Fn(Expr) -> Expr) {
    found.extend(replaced(part).into_iter().map(whole));
}

/// All expressions within.
pub fn parts(e: &Expr) -> Vec<&Expr> {
    let children: Vec<&Expr> = match e {
        Expr::Number(_) | Expr::String(_) | Expr::Vector(_) | Expr::Matrix(_) => Vec::new(),
        Expr::Subquery(s) => vec![&s.expr],
        Expr::Call(c) => c.args.iter().collect(),
        Expr::Aggregate(a) => [&a.expr].into_iter().chain(&a.parameter).collect(),
        Expr::Binary(b) => vec![&b.left, &b.right],
        Expr::Unary(u) => vec![&u.expr],
        Expr::Paren(p) => vec![&p.expr],
    };
    children
        .iter()
        .copied()
        .filter(|child| child.value_type() != ValueType::String)
        .chain(children.iter().flat_map(|child| parts(child)))
        .collect()
}
