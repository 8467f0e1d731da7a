"""The tester's own tests: python3 -m unittest -q test_promdiff"""
import json, os, sys, tempfile, unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import known, parts, promdiff
from compare import Comparison
from http_client import Resp
from judge import Judge, request
from query_sets import FileSet, FuzzSet, Query, ReproSet
from report import Tally


def answer(result, kind="vector", **more):
    body = {"status": "success", "data": {"resultType": kind, "result": result}, **more}
    return Resp(200, "application/json", json.dumps(body).encode())


def vector(*samples, **more):
    return answer([{"metric": m, "value": [1, v]} for m, v in samples], **more)


class Args:
    seed, skip, fuzz, parameters, align, range_seconds, step, file = 1, 0, 40, 0.5, False, 600, 10, None


class Explaining(unittest.TestCase):
    def name(self, query, verdict, ref, test, agree=lambda other: False):
        found = known.explained(known.Case(query, verdict, ref, test, Comparison(1e-12), agree))
        return found and found.name

    def test_infos_that_differ_in_the_count_alone(self):
        one = lambda count, bucket: vector(infos=["fixed from %s, over %d samples from a" % (bucket, count)])
        query = "histogram_quantile(0, rate(x[5m]))"
        self.assertEqual(self.name(query, "annotation", one(7, "1"), one(9, "1")), "samples of repaired histograms")
        self.assertIsNone(self.name(query, "annotation", one(7, "1"), one(9, "2")))
        self.assertIsNone(self.name("rate(x[5m])", "annotation", one(7, "1"), one(9, "1")))

    def test_types_of_one_pair(self):
        info = lambda types, op: vector(infos=['incompatible types for binary operator "%s": %s (1:1)' % (op, types)])
        name = lambda a, b: self.name("a </ b", "annotation", a, b)
        self.assertEqual(name(info("float </ float", "</"), info("histogram </ float", "</")), "types of one pair of many")
        self.assertIsNone(name(info("float </ float", "</"), info("float + float", "+")))

    def test_times_without_offset(self):
        for query, want in (
            ("timestamp(a @ 5 offset 1m)", True),
            ("abs(timestamp(a{b='c'} offset 1m @ start()))", True),
            ("timestamp(a @ start() offset 1m)", True),
            ("timestamp(a offset 1m)", False),
            ("timestamp(a @ 5) + (b offset 1m)", False),
        ):
            found = self.name(query, "value", vector(), vector(({}, "1")))
            self.assertEqual(found, "timestamp without offset" if want else None, query)

    def test_empty_buckets_need_the_proof(self):
        for query, other in (
            ("demo_nh_seconds{a='}'} / NaN", "(demo_nh_seconds{a='}'} * 1) / NaN"),
            ("-(demo_nh_gauge offset 5m @ start())", "-((demo_nh_gauge offset 5m @ start() * 1))"),
            ("-first_over_time(demo_nh_seconds[1m])", "-(first_over_time(demo_nh_seconds[1m]) * 1)"),
            ("rate(demo_nh_seconds[1m])", "rate(demo_nh_seconds[1m])"),
            ('{"demo_nh_float"} * Inf', '({"demo_nh_float"} * 1) * Inf'),
            ('{__name__="demo_mixed",a=~"."} / 0', '({__name__="demo_mixed",a=~"."} * 1) / 0'),
            ('x{a="demo_mixed"} / 0', 'x{a="demo_mixed"} / 0'),
        ):
            self.assertEqual(known.compacted(query), other)
            for agrees in (True, False):
                found = self.name(query, "value", vector(), vector(), lambda text: agrees and text == other)
                self.assertEqual(found, "empty buckets" if agrees and other != query else None, query)

    def test_labels_without_order(self):
        side = lambda *values: vector(*(({"le": v, "a": "x" * i} if v else {}, "1") for i, v in enumerate(values)))
        query = 'sort_by_label(x{a="b"}, "le")'
        self.assertEqual(self.name(query, "order", side("0.25", "0.025"), side("0.025", "0.25")), "order of labels")
        self.assertIsNone(self.name(query, "order", side("0.25", "1"), side("1", "0.25")))
        query = 'sort_by_label_desc(label_replace(x, "le", "", "le", "(.+)"), "a", "le")'
        self.assertEqual(self.name(query, "order", side("0.25", "0.025"), side("0.025", "0.25")), "order of labels")
        self.assertIsNone(self.name("sort_by_label(x)", "order", side("0.25", "0.025"), side("0.025", "0.25")))
        self.assertEqual(self.name('sort_by_label(x, "le")', "order", side("1", ""), side("", "1")), "order of labels")
        self.assertEqual(self.name('sort_by_label(x, "le", "a")', "order", side("01", "1"), side("1", "01")), "order of labels")
        self.assertIsNone(self.name('sort_by_label(x, "a", "le")', "order", side("1", "01"), side("2", "01", "1")))

    def test_mixed_buckets(self):
        warning, info = "PromQL warning: a mix of", "mismatched custom buckets were reconciled during aggregation (1:2)"
        ref, test = vector(warnings=[warning]), vector(warnings=[warning], infos=["PromQL info: " + info])
        self.assertEqual(self.name("sum(x)", "annotation", ref, test), "mixed buckets in an aggregation")
        self.assertIsNone(self.name("sum(x)", "annotation", vector(), vector(infos=["PromQL info: " + info])))
        self.assertIsNone(self.name("sum(x)", "annotation", ref, vector(warnings=[warning], infos=["other"])))

    def test_deviations(self):
        ref, near, far = (vector(({}, v)) for v in ("100", "100.00001", "101"))
        self.assertEqual(self.name("stddev(x)", "value", ref, near), "order of addition")
        self.assertIsNone(self.name("stddev(x)", "value", ref, far))
        self.assertEqual(self.name("sin(stdvar by (a) (x))", "value", ref, far), "order of addition")
        self.assertIsNone(self.name("stddev_over_time(x[5m])", "value", ref, near))

    def test_angles(self):
        ref, near, far = (vector(({}, v)) for v in ("0.5", "0.500000000001", "0.50001"))
        self.assertEqual(self.name("tan(avg(x))", "value", ref, near), "order of addition, amplified")
        self.assertIsNone(self.name("tan(avg(x))", "value", ref, far))
        self.assertIsNone(self.name("tan(max(x))", "value", ref, near))
        self.assertIsNone(self.name("avg(tan(x))", "value", ref, near))

    def test_limitk_takes_any(self):
        failed = lambda text: Resp(422, "application/json", json.dumps({"status": "error", "error": text}).encode())
        same = failed("vector cannot contain metrics with the same labelset")
        self.assertEqual(self.name("limitk(2, x)", "error", same, vector()), "choice of limitk")
        self.assertEqual(self.name("limitk(2, x)", "error", vector(), same), "choice of limitk")
        self.assertIsNone(self.name("limitk(2, x)", "error", failed("other"), vector()))
        self.assertIsNone(self.name("topk(2, x)", "error", same, vector()))

    def test_info_needs_the_proof(self):
        wider = "(info(rate(x[10s]))) and on () (count(target_info) or vector(1))"
        for agrees in (True, False):
            found = self.name("info(rate(x[10s]))", "value", vector(), vector(({}, "1")), lambda text: agrees and text == wider)
            self.assertEqual(found, "info series before the query's range" if agrees else None)

    def test_absent_with_two_matchers(self):
        name = lambda query: self.name(query, "value", vector(({}, "1")), vector(({"a": "b"}, "1")))
        self.assertEqual(name('absent(x{a!="c", a="b"})'), "absent label with two matchers")
        self.assertEqual(name("absent_over_time(x{a!~'(?i)B', a=`b`}[5m])"), "absent label with two matchers")
        self.assertIsNone(name('absent(x{a="b"})'))
        self.assertIsNone(name('absent(x{ba!="c", a="b"})'))


class Limits(unittest.TestCase):
    def test_which_samples_are_left_is_not_defined(self):
        outcome = lambda ref, test, instant: Comparison().outcome("x", ref, test, instant, limited=True)[0]
        a, b = vector(({"a": "1"}, "1")), vector(({"a": "2"}, "2"))
        self.assertEqual(outcome(a, b, True), "pass")
        self.assertEqual(outcome(a, vector(), True), "value")
        self.assertEqual(outcome(a, vector(({"a": "2"}, "2"), warnings=["cut"]), True), "annotation")
        matrix = lambda v: answer([{"metric": {}, "values": [[1, v]]}], "matrix")
        self.assertEqual(outcome(matrix("1"), matrix("2"), False), "value")

    def test_parameters_change_no_query(self):
        class Plain(Args):
            parameters = 0

        queries = [list(FuzzSet().queries(args, 1750000000)) for args in (Args, Plain)]
        self.assertEqual(*[[(q.text, q.times) for q in side] for side in queries])
        self.assertTrue(any(q.more for q in queries[0]) and not any(q.more for q in queries[1]))
        query = next(q for q in queries[0] if q.more)
        for key, value in query.more:
            self.assertEqual(request("range", query.text, query.times, query.more)[1][key], value)


class Sifting(unittest.TestCase):
    def test_what_is_written_is_read(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "f")
            argv = ["--ref-cmd", "/a/b", "--test-cmd=c", "--fuzz", "5"]
            keep = promdiff.sifting(path, argv, 1000)
            result = lambda **more: {"verdict": "pass", "ref": "success", "empty": False, **more}
            query = lambda text: Query("fuzz", text, (-1400.001, 999.998, 10))
            keep(query("a b"), [result(empty=True), result()])
            keep(query("a b"), [result()])
            keep(query("differs"), [result(verdict="value"), result()])
            keep(query("empty"), [result(empty=True)])
            keep(query("fails"), [result(ref="error")])
            with open(path) as f:
                self.assertEqual(f.readline(), "# On these both servers agree.  Written with: --fuzz 5\n")
            with open(path, "a") as f:
                f.write("plain\n")
            Args.file = path
            read = list(FileSet().queries(Args, 2000))
            self.assertEqual([(q.text, q.times) for q in read], [("a b", (-400.001, 1999.998, 10)), ("plain", (1400, 2000, 10))])


class Parts(unittest.TestCase):
    def test_slices_make_the_whole(self):
        for count, number, skip in ((10, 3, 0), (2, 5, 7), (100000, 4, 1)):
            found = parts.slices(count, number, skip)
            self.assertEqual([i for a, n in found for i in range(a, a + n)], list(range(skip, skip + count)))
            self.assertTrue(all(n > 0 for _, n in found) and len(found) <= number)

    def test_arguments_without_some(self):
        argv = ["--fuzz", "5", "--json=x", "--fuzz=6", "--parts", "2", "--seed", "1"]
        self.assertEqual(parts.without(argv, ("--fuzz", "--json", "--parts")), ["--seed", "1"])

    def test_results_add_up(self):
        result = lambda verdict: {
            "set": "fuzz", "mode": "range", "query": "x", "verdict": verdict, "detail": "name: d", "ref": "error",
            "empty": True, "times": (0, 1, 1), "tree": None, "etext": ("a", "a"), "more": (),
        }
        whole, sum_ = Tally(), Tally()
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "f")
            for verdicts in (["pass", "value", "known"], ["pass", "unstable", "value"]):
                part = Tally()
                for verdict in verdicts:
                    whole.add(result(verdict))
                    part.add(result(verdict))
                args = promdiff.parse([], "fuzz", ())[0]
                part.save(path, args, 1)
                with open(path) as f:
                    sum_.merge(json.load(f))
                self.assertEqual(len(ReproSet(path).items), verdicts.count("value"))
        self.assertEqual(json.loads(json.dumps(sum_.groups)), json.loads(json.dumps(whole.groups)))
        lists = lambda t: [len(t.bad), len(t.unstable), len(t.known)]
        self.assertEqual(lists(sum_), [2, 1, 1])
        self.assertEqual(lists(whole), lists(sum_))


class Judging(unittest.TestCase):
    def test_a_known_fault_has_its_name(self):
        judge = Judge(None, Comparison(), known=True)
        self.assertTrue(judge.known)
        path, form = request("instant", "x", (0, 5, 1), (("limit", "3"),))
        self.assertEqual((path, form), ("/api/v1/query", {"query": "x", "time": "5.000", "limit": "3"}))


if __name__ == "__main__":
    unittest.main()
