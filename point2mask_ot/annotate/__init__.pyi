from ._server import serve as serve
