package legion.gjpi;

import java.util.List;
import java.util.Map;

/**
 * GJPI: a model written in Java, as Legion calls it.
 *
 * <p>Compile this file into the model's JAR, unchanged, and name the implementing class in
 * META-INF/services/legion.gjpi.LegionModel. The class is public and has a public constructor without arguments.
 * All calls come from one thread, in the model's working directory. Whatever is thrown refuses the request, with the
 * exception's message. What is printed goes to the log.
 */
public interface LegionModel {

    /** Loads the model, once, and returns the prediction mode: "matrix" or "objects". */
    String init() throws Exception;

    /** One row of answers for each row of the input, in its order. Called in the mode "matrix". */
    default Matrix predictOnMatrix(Matrix input) throws Exception {
        throw new UnsupportedOperationException("init() returned \"matrix\", so define predictOnMatrix");
    }

    /**
     * One answer for each object. Called in the mode "objects".
     *
     * <p>Values are String, Boolean, Long (BigInteger beyond 64 bits), Double, null, List and Map of the same; answers
     * may also hold the other boxed numbers and arrays.
     */
    default List<Map<String, Object>> predictOnObjects(List<Map<String, Object>> objects) throws Exception {
        throw new UnsupportedOperationException("init() returned \"objects\", so define predictOnObjects");
    }

    /**
     * A JSON text that describes the model, or null. Either an OpenAPI document, or
     * {"inputs": [{"name", "type", "required", "example"}, …], "outputs": […]}, where type is double, float, long,
     * integer, boolean, or for objects also string. With inputs Legion matches columns by name, checks every value
     * and gives the matrix in their order.
     */
    default String getInfo() throws Exception {
        return null;
    }

    /** Rows of numbers. A value that is missing is NaN; true is 1 and false is 0. */
    final class Matrix {
        /** Row after row: the value at row i and column j is values[i * width + j]. */
        public final double[] values;

        /** The number of rows. */
        public final int rows;

        /** One name a column, or null where they have none. */
        public final String[] columns;

        public Matrix(double[] values, int rows, String... columns) {
            this.values = values;
            this.rows = rows;
            this.columns = columns == null || columns.length == 0 ? null : columns;
        }

        /** The number of columns. */
        public int width() {
            return rows == 0 ? 0 : values.length / rows;
        }
    }
}
