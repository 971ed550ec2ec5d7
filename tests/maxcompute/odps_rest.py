"""The REST half of the server: tables, partitions, resources, functions, the project itself."""

import hashlib
import json
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from odps_errors import OdpsError, missing
from odps_sessions import json_columns, partition_values

MAX_RESOURCE_BYTES = 2048 << 20


@dataclass
class Resource:
    """A file that functions use."""

    name: str
    kind: str
    content: bytes
    created: float = field(default_factory=time.time)
    modified: float = field(default_factory=time.time)


@dataclass
class Function:
    """A class in a resource, callable from SQL."""

    name: str
    class_type: str
    resources: list
    created: float = field(default_factory=time.time)


def page(items, request, size):
    """Items of one page and the marker of the next."""
    names = sorted(items)
    marker, wanted = request.query.get("marker", ""), request.query.get("name", "")
    names = [name for name in names if name >= marker and name.startswith(wanted)]
    return names[:size], (names[size] if len(names) > size else "")


class Rest:
    """Answers about what a project holds."""

    def __init__(self, server):
        self.server = server

    @property
    def catalog(self):
        """What the project holds."""
        return self.server.catalog

    def answer(self, request, rest, schema):
        """Answer a request; ``rest`` is the path below the project."""
        kind, *below = rest or ["project"]
        if kind == "project":
            request.label = "project.get"
            return (
                200,
                f"<Project><Name>{self.server.project}</Name><Status>AVAILABLE</Status></Project>",
            )
        if kind == "tables":
            return self._tables(request, below, schema)
        if kind == "resources":
            return self._resources(request, below)
        if kind in ("registration", "functions"):
            return self._functions(request, below[1:] if kind == "registration" else below)
        if kind == "instances":
            if below:
                return self.server.instances.answer(request, below[0])
            if request.method == "POST":
                return self.server.instances.create(request)
            return self.server.instances.listing()
        if kind == "authorization" and "sign_bearer_token" in request.query:
            request.label = "logview.token"
            return 200, "<Authorization><Result>bG9vcGJhY2s=</Result></Authorization>"
        if kind == "logs":
            return 200, b""
        if kind == "tunnel":
            return 200, f"127.0.0.1:{self.server.port}"
        if kind == "schemas":
            request.label = "schema.get"
            return 200, f"<Schema><Name>{escape(below[0] if below else 'default')}</Name></Schema>"
        raise missing("object", "/".join(rest))

    def _tables(self, request, below, schema):
        if not below:
            request.label = "table.list"
            with self.catalog.lock:
                known = {name: t for (s, name), t in self.catalog.tables.items() if s == schema}
            names, marker = page(known, request, self.server.page_size)
            inside = "".join(
                f"<Table><Name>{name}</Name><TableId>{known[name].table_id}</TableId>"
                "<Owner>ALIYUN$loopback</Owner><Type>MANAGED_TABLE</Type></Table>"
                for name in names
            )
            return 200, _list("Tables", marker, inside)
        table = self.catalog.table(below[0], schema)
        if "partitions" in request.query:
            return self._partitions(request, table)
        if request.query.get("partition"):
            request.label = "partition.get"
            part = table.part(partition_values(table, request.query["partition"]))
            meta = {
                "createTime": int(part.created),
                "lastDDLTime": int(part.created),
                "lastModifiedTime": int(part.modified),
                "partitionSize": part.nbytes,
                "partitionRecordNum": part.rows,
            }
            return 200, f"<Partition><Schema>{escape(json.dumps(meta))}</Schema></Partition>"
        request.label = "table.get"
        return 200, self._table(table, "extended" in request.query)

    def _table(self, table, extended):
        parts = list(table.parts.values())
        meta = {
            "tableName": table.name,
            "comment": table.comment,
            "owner": "ALIYUN$loopback",
            "createTime": int(table.created),
            "lastModifiedTime": int(table.modified),
            "lastDDLTime": int(table.changed),
            "isVirtualView": False,
            "lifecycle": table.lifecycle,
            "size": sum(part.nbytes for part in parts),
            # the service does not promise it for a table with partitions
            "recordNum": -1 if table.keys else sum(part.rows for part in parts),
            "columns": json_columns(table.columns),
            "partitionKeys": json_columns(table.keys),
            "tableProperties": json.dumps(table.properties),
        }
        if extended:
            meta |= {
                "IsArchived": False,
                "PhysicalSize": 3 * sum(part.nbytes for part in parts),
                "FileNum": sum(len(part.pieces) for part in parts),
                "Reserved": "{}",
            }
        return (
            f"<Table><Name>{table.name}</Name><TableId>{table.table_id}</TableId>"
            f'<Schema format="Json">{escape(json.dumps(meta))}</Schema>'
            f"<Comment>{escape(table.comment)}</Comment><Owner>ALIYUN$loopback</Owner>"
            f"<CreationTime>{formatdate(table.created, usegmt=True)}</CreationTime>"
            f"<LastModifiedTime>{formatdate(table.modified, usegmt=True)}</LastModifiedTime>"
            "<Type>MANAGED_TABLE</Type></Table>"
        )

    def _partitions(self, request, table):
        request.label = "partition.list"
        if not table.keys:
            raise OdpsError("InvalidArgument", f"table {table.name} is not partitioned")
        known = {"/".join(values): values for values in list(table.parts)}
        names, marker = page(known, request, self.server.page_size)
        rows = []
        for name in names:
            part = table.parts.get(known[name])
            if part is None:
                continue
            columns = "".join(
                f"<Column Name={quoteattr(key.name)} Value={quoteattr(value)}/>"
                for key, value in zip(table.keys, known[name], strict=True)
            )
            rows.append(
                f"<Partition>{columns}<CreationTime>{int(part.created)}</CreationTime>"
                f"<LastDDLTime>{int(part.created)}</LastDDLTime>"
                f"<LastModifiedTime>{int(part.modified)}</LastModifiedTime>"
                f"<PartitionSize>{part.nbytes}</PartitionSize>"
                f"<PartitionRecordCount>{part.rows}</PartitionRecordCount></Partition>"
            )
        return 200, _list("Partitions", marker, "".join(rows))

    def _resources(self, request, below):
        known, headers = self.catalog.resources, request.headers
        if not below and request.method == "GET":
            request.label = "resource.list"
            names, marker = page(known, request, self.server.page_size)
            inside = "".join(
                f"<Resource><Name>{escape(name)}</Name><Owner>ALIYUN$loopback</Owner>"
                f"<ResourceType>{known[name].kind}</ResourceType>"
                f"<CreationTime>{formatdate(known[name].created, usegmt=True)}</CreationTime>"
                f"<LastModifiedTime>{formatdate(known[name].modified, usegmt=True)}"
                f"</LastModifiedTime><ResourceSize>{len(known[name].content)}</ResourceSize>"
                "</Resource>"
                for name in names
            )
            return 200, _list("Resources", marker, inside)
        if request.method in ("POST", "PUT"):
            request.label = "resource.create" if request.method == "POST" else "resource.update"
            name = below[0] if below else headers["x-odps-resource-name"]
            with self.catalog.lock:
                if request.method == "POST" and name in known:
                    raise OdpsError("ObjectAlreadyExists", f"resource {name} already exists", 409)
                content = request.body
                if "rOpMerge" in request.query:
                    content = self._merged(content.decode())
                if len(content) > MAX_RESOURCE_BYTES:
                    raise OdpsError("InvalidArgument", "a resource has at most 2048 MB")
                known[name] = Resource(name, headers["x-odps-resource-type"], content)
            return 201, b"", {"Location": f"{request.target}/{name}"}
        resource = known.get(below[0])
        if resource is None:
            raise missing("object", f"resource {below[0]}")
        if request.method == "DELETE":
            request.label = "resource.delete"
            del known[below[0]]
            return 204, b""
        request.label = "resource.get"
        answer = {
            "x-odps-owner": "ALIYUN$loopback",
            "x-odps-resource-type": resource.kind,
            "x-odps-resource-size": str(len(resource.content)),
            "x-odps-creation-time": formatdate(resource.created, usegmt=True),
            "Last-Modified": formatdate(resource.modified, usegmt=True),
            "Content-MD5": hashlib.md5(resource.content, usedforsecurity=False).hexdigest(),
        }
        return 200, b"" if "meta" in request.query else resource.content, answer

    def _merged(self, text):
        digest, _, names = text.partition("|")
        content = b"".join(self.catalog.resources.pop(name).content for name in names.split(","))
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != digest:
            raise OdpsError("InvalidArgument", "the parts of the resource do not match its digest")
        return content

    def _functions(self, request, below):
        known = self.catalog.functions
        if not below and request.method == "GET":
            request.label = "function.list"
            names, marker = page(known, request, self.server.page_size)
            return 200, _list("Functions", marker, "".join(_function(known[n]) for n in names))
        if request.method in ("POST", "PUT"):
            request.label = "function.create" if request.method == "POST" else "function.update"
            root = ElementTree.fromstring(request.body)
            name = root.findtext("Alias").lower()
            resources = [each.text for each in root.iter("ResourceName")]
            with self.catalog.lock:
                if request.method == "POST" and name in known:
                    raise OdpsError("ObjectAlreadyExists", f"function {name} already exists", 409)
                for each in resources:
                    if each.rpartition("/")[2] not in self.catalog.resources:
                        raise missing("object", f"resource {each}")
                known[name] = Function(name, root.findtext("ClassType"), resources)
            return 201, b"", {"Location": f"{request.target}/{name}"}
        function = known.get(below[0].lower())
        if function is None:
            raise missing("object", f"function {below[0]}")
        if request.method == "DELETE":
            request.label = "function.delete"
            del known[function.name]
            return 204, b""
        request.label = "function.get"
        return 200, _function(function)


def _function(function):
    resources = "".join(f"<ResourceName>{escape(r)}</ResourceName>" for r in function.resources)
    return (
        f"<Function><Alias>{escape(function.name)}</Alias><Owner>ALIYUN$loopback</Owner>"
        f"<CreationTime>{formatdate(function.created, usegmt=True)}</CreationTime>"
        f"<ClassType>{escape(function.class_type)}</ClassType>"
        f"<Resources>{resources}</Resources></Function>"
    )


def _list(name, marker, inside):
    return f"<{name}><Marker>{escape(marker)}</Marker><MaxItems>1000</MaxItems>{inside}</{name}>"
