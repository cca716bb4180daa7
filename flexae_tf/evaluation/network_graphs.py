"""Feature networks in TensorFlow: a SavedModel, or the frozen Inception graph of 2015-12-05."""

import collections
import pathlib
from collections.abc import Mapping, Sequence

import tensorflow as tf

from flexae_tf.files import tensorflow_path


class UnknownOutputError(Exception):
    """The network has no output of the requested name.

    Args:
        outputs: names of the outputs that it has.
    """

    def __init__(self, outputs: Sequence[str]) -> None:
        super().__init__(', '.join(outputs) or 'no outputs')


class SavedModelNetwork:
    """A SavedModel that is callable or has one signature, with named outputs.

    An output without a name is called `output_0`, as Keras calls it.

    Args:
        folder: folder of the SavedModel.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        with tensorflow_path(folder) as name:
            self._model = tf.saved_model.load(name)  # keeps the variables alive

    def __call__(self, images: tf.Tensor, names: Sequence[str] | None) -> dict[str, tf.Tensor]:
        """Returns the named outputs for images, or all outputs if `names` is None.

        Raises:
            UnknownOutputError: a name is not an output.
            TypeError, ValueError: the network does not take such images.
        """
        outputs = self._outputs(images)
        return outputs if names is None else _select(outputs, names)

    def _outputs(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        if callable(self._model):
            outputs = self._model(images)
        else:
            signatures = getattr(self._model, 'signatures', {})
            name = 'serving_default' if len(signatures) != 1 else next(iter(signatures))
            if name not in signatures:
                raise TypeError('it is not callable and has no signature serving_default')
            (argument,) = signatures[name].structured_input_signature[1]
            outputs = signatures[name](**{argument: images})
        if isinstance(outputs, Mapping):
            return dict(outputs)
        outputs = outputs if isinstance(outputs, tuple | list) else [outputs]
        return {f'output_{i}': output for i, output in enumerate(outputs)}


class FrozenInception:
    """A frozen graph with the nodes of the Inception graph of 2015-12-05.

    Outputs are the results of nodes by name, with maps averaged over their positions. A block
    such as `mixed_7` is its node `mixed_7/join`. `logits` are without the bias, as the authors of
    the Inception score use them.

    The graph is made for one image, by the constant shape of a reshape, and has a node type that
    functions of TensorFlow 2 refuse. Both are rewritten.

    Args:
        path: file of the graph.

    Raises:
        Exception: the file is not a graph, or has other nodes.
    """

    INPUT = 'Mul'  # images [n, 299, 299, 3] in [-1, 1)

    def __init__(self, path: pathlib.Path) -> None:
        graph = tf.compat.v1.GraphDef()
        graph.ParseFromString(path.read_bytes())
        self._nodes = {node.name: node for node in graph.node}
        self._dependent = _dependent(graph.node, self.INPUT)
        if self.INPUT not in self._nodes or 'pool_3' not in self._dependent:
            raise ValueError(f'no node pool_3 that depends on {self.INPUT}')

    def __call__(self, images: tf.Tensor, names: Sequence[str] | None) -> dict[str, tf.Tensor]:
        """Returns the named outputs for images, or the main outputs if `names` is None.

        Raises:
            UnknownOutputError: a name is not a node that depends on the images.
        """
        names = self._main_outputs() if names is None else names
        nodes = [self._node(name) for name in names]
        if None in nodes:
            raise UnknownOutputError(self._main_outputs())
        outputs = tf.graph_util.import_graph_def(
            self._subgraph(nodes),
            input_map={f'{self.INPUT}:0': images},
            return_elements=[f'{node}:0' for node in nodes],
            name='inception',
        )
        return {name: _mean(output) for name, output in zip(names, outputs, strict=True)}

    def _main_outputs(self) -> list[str]:
        """Returns the names of blocks and of the last outputs, in the order of the graph."""
        names = [name.removesuffix('/join') for name in self._nodes if name in self._dependent]
        names += ['logits'] if self._node('logits') else []
        return sorted({name for name in names if '/' not in name})

    def _node(self, name: str) -> str | None:
        """Returns the node of an output; None if there is none."""
        aliases = {'logits': 'softmax/logits/MatMul'}
        candidates = (aliases.get(name, name), name, f'{name}/join')
        return next((node for node in candidates if node in self._dependent), None)

    def _subgraph(self, outputs: Sequence[str]) -> tf.compat.v1.GraphDef:
        """Returns the nodes that `outputs` depend on, for any number of images."""
        graph = tf.compat.v1.GraphDef()
        done, waiting = {self.INPUT}, list(outputs)
        while waiting:
            name = waiting.pop()
            if name in done:
                continue
            done.add(name)
            node = self._nodes[name]
            waiting += _inputs(node)
            if node.op == 'BatchNormWithGlobalNormalization':
                graph.node.extend(_batch_norm(node))
            elif node.op == 'Reshape':
                graph.node.extend(self._reshape(node))
            else:
                graph.node.add().CopyFrom(node)
        for node in graph.node:
            node.attr.pop('_output_shapes', None)  # for one image
        return graph

    def _reshape(self, node: tf.compat.v1.NodeDef) -> list[tf.compat.v1.NodeDef]:
        """Returns a reshape whose leading 1 in a constant shape stands for the number of images."""
        reshape = tf.compat.v1.NodeDef()
        reshape.CopyFrom(node)
        constant = self._nodes[_inputs(node)[1]]
        if constant.op != 'Const':
            return [reshape]
        shape = tf.make_ndarray(constant.attr['value'].tensor).tolist()
        if shape[:1] != [1] or -1 in shape:
            return [reshape]
        any_number = tf.compat.v1.NodeDef()
        any_number.CopyFrom(constant)
        any_number.name = f'{node.name}/any_number'
        any_number.attr['value'].tensor.CopyFrom(
            tf.make_tensor_proto([-1, *shape[1:]], constant.attr['dtype'].type)
        )
        reshape.input[1] = any_number.name
        return [reshape, any_number]


Network = SavedModelNetwork | FrozenInception


def load(path: pathlib.Path) -> Network:
    """Returns the network in a folder of a SavedModel or a file of a frozen graph.

    Raises:
        Exception: the files are corrupt; TensorFlow raises many kinds of errors.
    """
    return SavedModelNetwork(path) if path.is_dir() else FrozenInception(path)


def _select(outputs: Mapping[str, tf.Tensor], names: Sequence[str]) -> dict[str, tf.Tensor]:
    if not set(names) <= set(outputs):
        raise UnknownOutputError(sorted(outputs))
    return {name: outputs[name] for name in names}


def _inputs(node: tf.compat.v1.NodeDef) -> list[str]:
    """Returns the names of the nodes that a node depends on."""
    return [name.removeprefix('^').partition(':')[0] for name in node.input]


def _dependent(nodes: Sequence[tf.compat.v1.NodeDef], start: str) -> set[str]:
    """Returns the names of the nodes that depend on `start`."""
    consumers = collections.defaultdict(list)
    for node in nodes:
        for name in _inputs(node):
            consumers[name].append(node.name)
    found, waiting = set(), [start]
    while waiting:
        new = set(consumers[waiting.pop()]) - found
        found |= new
        waiting += new
    return found


def _batch_norm(node: tf.compat.v1.NodeDef) -> list[tf.compat.v1.NodeDef]:
    """Returns nodes that compute (x - mean) * scale + shift like the type TensorFlow 2 refuses."""
    x, mean, variance, shift, gamma = node.input[:5]
    graph = tf.Graph()
    with graph.as_default():
        places = {
            name: tf.compat.v1.placeholder(tf.float32, name=name)
            for name in ('x', 'mean', 'variance', 'shift', 'gamma')
        }
        scale = tf.math.rsqrt(places['variance'] + node.attr['variance_epsilon'].f)
        if node.attr['scale_after_normalization'].b:
            scale *= places['gamma']
        result = (places['x'] - places['mean']) * scale + places['shift']
    names = dict(zip(places, (x, mean, variance, shift, gamma), strict=True))
    names[result.op.name] = node.name
    replaced = []
    for new in graph.as_graph_def().node:
        if new.op != 'Placeholder':
            new.name = names.setdefault(new.name, f'{node.name}/{new.name}')
            renamed = [names.get(name, f'{node.name}/{name}') for name in new.input]
            del new.input[:]
            new.input.extend(renamed)
            replaced.append(new)
    return replaced


def _mean(output: tf.Tensor) -> tf.Tensor:
    """Returns the mean of maps [n, h, w, d] over their positions; other outputs unchanged."""
    return tf.reduce_mean(output, axis=[1, 2]) if output.shape.rank == 4 else output
