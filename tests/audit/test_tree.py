"""Whatever lies in a folder, reading it ends with a tree, a problem that names file and line, or a clear error."""

from __future__ import annotations

import os

import pytest
from manifests import write

from loadgen.audit import audit, read_tree
from loadgen.audit.node import MAX_DEPTH, Node, YamlProblem, documents, merged
from loadgen.audit.tree import MAX_FILE_BYTES
from loadgen.config import ConfigError
from loadgen.model import Result

NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n"
BOMB = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
BROKEN = {
    "unclosed": ("a: 1\nb: [1\nc: 2\n", 3, "not valid YAML"),
    "tab": ("a:\n\t- b\n", 2, "not valid YAML"),
    "two colons": ("a: b: c\n", 1, "not valid YAML"),
    "template": ("a: 1\nb: {{ .Values.b }}\n", 2, "looks like a template"),
    "doubled key": ("a: 1\nb: 2\na: 3\n", 3, "for a second time"),
    "unknown alias": ("a: *b\n", 1, "an alias to something that is not there"),
    "itself": ("a: &a [*a]\n", 1, "to what it is a part of"),
    "bomb": (BOMB, 6, "stand for more than"),
    "deep": ("a: " + "[" * 200, 1, f"nested deeper than {MAX_DEPTH}"),
    "deeper than the parser goes": ("a: " + "[" * 10_000, 1, "nest"),
    "deep in blocks": ("- " * 200 + "a\n", 1, "nested deeper"),
    "control character": ("a: 1\nb: \x07\n", 2, "does not allow"),
}


def value(node: Node):
    if node.kind == "scalar":
        return node.scalar
    return [value(item) for item in node.items] if node.kind == "list" else {k: value(v) for k, v in node.fields}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_no_yaml_is_a_problem_with_file_and_line(tmp_path, name):
    text, line, what = BROKEN[name]
    tree = read_tree(write(tmp_path, {"good.yaml": NAMESPACE, "bad.yaml": text}))
    (problem,) = tree.problems
    assert (problem.place.file, problem.place.line) == ("bad.yaml", line)
    assert what in problem.what
    assert [file.path for file in tree.files] == ["good.yaml"]


def test_a_problem_repeats_nothing_of_the_text(tmp_path):
    for text in (
        "password: *hunter2secret\n",
        "a: 'hunter2secret\n",
        "a: %hunter2secret\n",
        "hunter2secret: {{ x }}\n",
    ):
        with pytest.raises(YamlProblem) as caught:
            documents(text, "f.yaml")
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"a: \xff\xfe\n", "not UTF-8"),
        (b"PK\x03\x04\0\0", "binary data"),
        (b"a: 1\n" * (MAX_FILE_BYTES // 5 + 1), "larger than"),
    ],
)
def test_data_that_is_no_text_is_a_problem(tmp_path, content, what):
    (problem,) = read_tree(write(tmp_path, {"good.yaml": NAMESPACE, "bad.yaml": content})).problems
    assert what in problem.what


def test_a_loop_of_links_and_a_link_out_of_the_tree_are_not_followed(tmp_path):
    outside = write(tmp_path / "outside", {"secret.yaml": "a: 1\n"})
    root = write(tmp_path / "tree", {"a/good.yaml": NAMESPACE})
    (root / "a" / "loop").symlink_to(root)
    (root / "a" / "round.yaml").symlink_to(root / "a" / "round.yaml")
    (root / "out.yaml").symlink_to(outside / "secret.yaml")
    (root / "inside.yaml").symlink_to(root / "a" / "good.yaml")
    tree = read_tree(root)
    assert [file.path for file in tree.files] == ["inside.yaml", "a/good.yaml"]
    assert {problem.place.file for problem in tree.problems} == {"a/round.yaml", "out.yaml"}
    assert [one.place.file for one in tree.left_out] == ["a/loop"]


def test_a_pipe_does_not_hang(tmp_path):
    root = write(tmp_path, {"good.yaml": NAMESPACE})
    os.mkfifo(root / "pipe.yaml")
    (problem,) = read_tree(root).problems
    assert problem.what == "not a regular file, not read"


def test_templates_of_a_helm_chart_and_hidden_folders_are_left_out(tmp_path):
    files = {
        "good.yaml": NAMESPACE,
        "chart/Chart.yaml": "name: x\n",
        "chart/templates/deployment.yaml": "a: {{ .Values.a }}\n",
        ".github/workflow.yaml": "a: [\n",
        ".sops.yaml": "creation_rules: []\n",
    }
    tree = read_tree(write(tmp_path, files))
    assert tree.problems == ()
    assert {one.place.file for one in tree.left_out} == {"chart/templates", ".github"}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path / "none", "no such folder"),
        (lambda path: write(path, {"a.yaml": NAMESPACE}) / "a.yaml", "a file, not a folder"),
        (lambda path: write(path, {"README.md": "text"}), "no YAML file"),
    ],
)
def test_a_folder_without_manifests_is_a_clear_error(tmp_path, make, says):
    with pytest.raises(ConfigError, match=says):
        read_tree(make(tmp_path))


def test_values_are_read_as_yaml_1_1_reads_them():
    (node,) = documents("a: [yes, 010, 0x1F, 1e3, 1.5, '1', null, ~, 1:30, 2024-01-01, .inf]\n", "f")
    assert value(node)["a"][:9] == [True, 8, 31, "1e3", 1.5, "1", None, None, "1:30"]
    assert value(node)["a"][9:] == ["2024-01-01", float("inf")]


def test_anchors_and_merge_keys_are_resolved_with_the_place_of_what_they_stand_for():
    (node,) = documents("base: &b\n  x: 1\n  y: 2\nmore:\n  <<: *b\n  y: 3\n", "f")
    assert value(node)["more"] == {"y": 3, "x": 1}
    assert node.get("more", "x").place.line == 2


def test_a_text_within_a_text_has_the_lines_of_the_file():
    (outer,) = documents("a: 1\ndata:\n  values.yaml: |\n    x: 1\n    y: 2\n", "f.yaml")
    text = outer.get("data", "values.yaml")
    (inner,) = documents(text.scalar, "f.yaml", text.text_line)
    assert inner.get("y").place.line == 5


def test_values_merge_as_in_helm():
    below, above = (documents(text, "f")[0] for text in ("a: {b: 1, c: [1, 2]}\nd: 1\n", "a: {c: [3]}\nd: null\n"))
    assert value(merged(below, above)) == {"a": {"b": 1, "c": [3]}, "d": None}


def test_no_rule_falls_over_any_shape_of_document(tmp_path):
    shapes = ["", "null", "x", "[]", "[a]", "{a: []}", "kind: Secret", "kind: HelmRelease\nspec: []", "kind: []"]
    shapes += ["kind: HelmRelease\nmetadata: x\nspec: {chartRef: x, values: [], valuesFrom: {a: b}}"]
    shapes += ["kind: Secret\ndata: [a]\nstringData: x\nsops: [1]", "kind: Secret\nsops: {age: x, mac: []}"]
    shapes += ["kind: List\nitems: [null, 1, {kind: Secret}]", "kind: ConfigMap\ndata: {a: [1]}\nmetadata: []"]
    shapes += [
        f"apiVersion: kustomize.config.k8s.io/v1\nkind: Kustomization\n{key}: {shape}"
        for key in ("resources", "patches", "configMapGenerator", "secretGenerator", "namespace")
        for shape in ("x", "[1]", "{a: 1}")
    ]
    for chart in ("loki", "tempo", "mimir-distributed", "grafana", "kube-prometheus-stack"):
        for values in (
            "x",
            "[]",
            "null",
            *(
                f"{{{key}: {shape}}}"
                for key in (
                    "loki",
                    "write",
                    "tempo",
                    "mimir",
                    "ingester",
                    "config",
                    "datasources",
                    "prometheus",
                    "global",
                    "minio",
                    "gateway",
                    "persistence",
                    "deploymentMode",
                    "chunksCache",
                    "extraArgs",
                )
                for shape in ("x", "[1]", "null", "[{}]", "{storage: 1}")
            ),
        ):
            shapes.append(
                f"kind: HelmRelease\nspec: {{chart: {{spec: {{chart: {chart}, version: 6.21.0}}}}, values: {values}}}"
            )
    for number, shape in enumerate(shapes):
        verdicts = audit(read_tree(write(tmp_path / str(number), {"x.yaml": shape + "\n", "y.yaml": NAMESPACE})))
        said = [text for verdict in verdicts for text in verdict.evidence]
        assert not any("judging it failed" in text for text in said), shape
        assert not any(
            verdict.result is Result.PASS for verdict in verdicts if verdict.check not in ("sops", "values_only")
        ), shape
