"""The control API: what a running node is told to do, and tells of itself, as JSON below /api/v1.

In: requests on the node's own UNIX socket, or on the admin listener from who has the token. Out:
answers, after the node has done what they ask for.

The door is `routes.ControlRoutes`; `resources` lists what there is, each resource a module with its
operations, and `document` makes the OpenAPI document of the same list.
"""
