"""Reads CIM RDF/XML (IEC 61970-552) into objects by mRID: several files or a zip of profiles become one model.

Entities and document types are refused, so that no file can expand or fetch anything; nothing is evaluated.
What the objects mean is the business of the other modules of this package.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat

from twin.errors import Blame, TwinError

MOST_BYTES = 1 << 30
"""Largest unpacked size of a file or of all files of a zip."""

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_CIM_NAMESPACES = ("http://iec.ch/TC57/CIM", "http://iec.ch/TC57/20")


@dataclass(frozen=True, slots=True)
class CimFinding:
    """One thing that keeps a CIM model from being used: the object's mRID ("" for a whole file), where, and why."""

    mrid: str
    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}" + (f" [{self.mrid}]" if self.mrid else "")


class CimFileError(TwinError):
    """CIM data that cannot be used, with all findings."""

    blame = Blame.SCENARIO

    def __init__(self, name: str, findings: tuple[CimFinding, ...]) -> None:
        self.name = name
        self.findings = findings
        super().__init__(f"the CIM model {name} cannot be used:\n" + "\n".join(f"  {finding}" for finding in findings))


@dataclass(slots=True)
class CimObject:
    """An object; ``values`` and ``references`` by full property name (``ACLineSegment.r``), the latter normalised."""

    kind: str
    mrid: str
    file: str
    line: int
    defined: bool = False
    values: dict[str, str] = field(default_factory=dict)
    references: dict[str, list[str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The given name, or the mRID."""
        return self.values.get("IdentifiedObject.name") or self.mrid

    def text(self, key: str, default: str = "") -> str:
        """A property as written; of an enumeration the part after the last dot of its value."""
        if key in self.values:
            return self.values[key]
        return self.references[key][0].rpartition(".")[2] if key in self.references else default


@dataclass
class CimModel:
    """The objects of all files, in the order of their first appearance."""

    name: str
    objects: dict[str, CimObject] = field(default_factory=dict)
    profiles: list[str] = field(default_factory=list)
    findings: list[CimFinding] = field(default_factory=list)

    def of(self, *kinds: str) -> list[CimObject]:
        """All objects of the given classes (no subclasses)."""
        return [found for found in self.objects.values() if found.kind in kinds]

    def find(self, item: CimObject, text: str) -> None:
        """Add a finding about ``item``."""
        self.findings.append(CimFinding(item.mrid, item.file, item.line, f"{item.kind} {item.name} {text}"))

    def target(self, item: CimObject, key: str, *, needed: bool = True) -> CimObject | None:
        """The object that a reference names; a finding if it is missing (where needed) or leads nowhere."""
        names = item.references.get(key)
        if not names:
            if needed:
                self.find(item, f"has no {key}")
            return None
        found = self.objects.get(names[0])
        if found is None and needed:
            self.find(item, f"refers to {names[0]} as its {key}, which is not in the files")
        return found

    def referring(self, kinds: tuple[str, ...], key: str) -> dict[str, list[CimObject]]:
        """The objects of ``kinds`` by the mRID that they refer to as ``key``."""
        by_target: dict[str, list[CimObject]] = {}
        for item in self.of(*kinds):
            for mrid in item.references.get(key, ()):
                by_target.setdefault(mrid, []).append(item)
        return by_target

    def number(self, item: CimObject, key: str, default: float | None = None) -> float:
        """A numeric property; a finding (and NaN) if it is missing without a default, or no finite number."""
        text = item.values.get(key)
        if text is None:
            if default is None:
                self.find(item, f"has no {key}")
            return math.nan if default is None else default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            self.find(item, f"has {text!r} as its {key}, which is no number")
        return value

    def flag(self, item: CimObject, key: str, default: bool = False) -> bool:
        """A boolean property; a finding if it is neither true nor false."""
        text = item.values.get(key, str(default).lower()).lower()
        if text not in ("true", "false"):
            self.find(item, f"has {text!r} as its {key}, which is neither true nor false")
        return text == "true"

    def check(self) -> None:
        """Raise what was found.

        Raises:
            CimFileError: there are findings.
        """
        if self.findings:
            raise CimFileError(self.name, tuple(self.findings))


def read_cim(*paths: Path, name: str = "") -> CimModel:
    """The objects of RDF/XML files and of zips of such files.

    Raises:
        CimFileError: a file is no RDF/XML with CIM objects, or two objects share an mRID; all findings.
    """
    model = CimModel(name or paths[0].stem)
    documents = sorted((pair for path in paths for pair in _documents(path, model)), key=lambda pair: pair[0])
    for file, data in documents:
        _Parser(model, file).parse(data)
    if not model.objects and not model.findings:
        model.findings.append(CimFinding("", paths[0].name, 1, "holds no CIM object"))
    model.check()
    return model


def _documents(path: Path, model: CimModel) -> Iterator[tuple[str, bytes]]:
    if not zipfile.is_zipfile(path):
        if path.stat().st_size > MOST_BYTES:
            model.findings.append(CimFinding("", path.name, 1, f"is larger than {MOST_BYTES} bytes"))
            return
        yield path.name, path.read_bytes()
        return
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if m.filename.lower().endswith(".xml")]
            if sum(member.file_size for member in members) > MOST_BYTES:
                model.findings.append(CimFinding("", path.name, 1, f"unpacks to more than {MOST_BYTES} bytes"))
                return
            for member in members:
                yield member.filename, archive.read(member)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
        model.findings.append(CimFinding("", path.name, 1, f"cannot be unpacked: {error}"))


def normalised(identifier: str) -> str:
    """An mRID without the dress that profiles give it: ``#``, ``urn:uuid:``, a leading underscore."""
    bare = identifier.rpartition("#")[2] if identifier.startswith("#") else identifier
    return bare.removeprefix("urn:uuid:").removeprefix("_")


class _RefusedDocumentError(TwinError):
    """Raised inside the parser's callbacks to end parsing."""


class _Parser:
    """One file: objects at the second level, their properties at the third."""

    def __init__(self, model: CimModel, file: str) -> None:
        self._model = model
        self._file = file
        self._depth = 0
        self._object: CimObject | None = None
        self._key = ""
        self._text: list[str] = []

    def parse(self, data: bytes) -> None:
        self._expat = expat.ParserCreate(namespace_separator=" ")
        self._expat.buffer_text = True
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end
        self._expat.CharacterDataHandler = self._characters
        self._expat.StartDoctypeDeclHandler = self._no_document_type
        try:
            self._expat.Parse(data, True)
        except expat.ExpatError as error:
            self._finding(f"is not well-formed XML: {expat.errors.messages[error.code]}", error.lineno)
        except _RefusedDocumentError as refused:
            self._finding(str(refused), self._expat.CurrentLineNumber)

    def _finding(self, text: str, line: int, mrid: str = "") -> None:
        self._model.findings.append(CimFinding(mrid, self._file, line, text))

    def _no_document_type(self, *_: Any) -> None:
        raise _RefusedDocumentError("declares a document type, which could bring entities; that is refused")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        namespace, _, name = tag.rpartition(" ")
        if self._depth == 1 and tag != f"{_RDF} RDF":
            raise _RefusedDocumentError(f"starts with {name}, not with rdf:RDF")
        if self._depth == 2:
            self._begin(namespace, name, attributes)
        elif self._depth == 3:
            self._key, self._text = name, []
            resource = attributes.get(f"{_RDF} resource")
            if resource is not None and self._object is not None:
                self._object.references.setdefault(name, []).append(normalised(resource))
        elif self._depth > 3 and self._object is not None:
            self._finding(f"holds {name} inside a property", self._expat.CurrentLineNumber, self._object.mrid)

    def _begin(self, namespace: str, name: str, attributes: dict[str, str]) -> None:
        line = self._expat.CurrentLineNumber
        defined, about = attributes.get(f"{_RDF} ID"), attributes.get(f"{_RDF} about")
        identifier = defined if defined is not None else about
        if name == "FullModel" or not namespace.startswith(_CIM_NAMESPACES):
            self._object = CimObject(name, "", self._file, line)
        elif not identifier:
            self._finding(f"{name} has neither rdf:ID nor rdf:about", line)
            self._object = None
        else:
            self._object = self._known(name, normalised(identifier), line, defined is not None)

    def _known(self, kind: str, mrid: str, line: int, defined: bool) -> CimObject:
        found = self._model.objects.setdefault(mrid, CimObject(kind, mrid, self._file, line))
        if defined:
            if found.defined:
                self._finding(f"{kind} is defined a second time; first in {found.file}:{found.line}", line, mrid)
            found.kind, found.file, found.line, found.defined = kind, self._file, line, True
        return found

    def _characters(self, text: str) -> None:
        if self._depth == 3:
            self._text.append(text)

    def _end(self, _tag: str) -> None:
        if self._depth == 3 and self._object is not None:
            text = "".join(self._text).strip()
            if text:
                self._object.values[self._key] = text
        if self._depth == 2 and self._object is not None and self._object.kind == "FullModel":
            self._model.profiles.append(self._object.values.get("Model.profile", ""))
        self._depth -= 1


def unused(model: CimModel, known: Iterable[str]) -> tuple[str, ...]:
    """A note for each class that is not among ``known``."""
    counts: dict[str, int] = {}
    for item in model.objects.values():
        counts[item.kind] = counts.get(item.kind, 0) + 1
    names = set(known)
    return tuple(
        f"{count} object{'s' if count > 1 else ''} of the class {kind} {'are' if count > 1 else 'is'} not used"
        for kind, count in sorted(counts.items())
        if kind not in names
    )
